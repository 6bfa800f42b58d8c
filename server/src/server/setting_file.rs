//! Files that settings name.

use std::{io, path::Path};

use super::StartError;
use crate::small_file;

/// What is in a file; `key` is the setting that names it.
pub(super) async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || small_file::read(&owned)).await;
    read.map_err(io::Error::other).flatten().map_err(|error| StartError::File { key, path: path.to_owned(), error })
}
