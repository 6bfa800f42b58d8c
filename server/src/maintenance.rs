//! What is done to a store with no manager in between: looked at, copied, filled.
//!
//! A [`StoreCopy`] is all that a store holds at one revision. It is taken from any kind of store and fills any kind: a
//! backup is a copy in a file, a migration is a copy that goes from one store into another. What is there on a lease
//! (results of requests, managers' addresses) is no part of it, for leases are a store's own and last for minutes.
//!
//! To fill a store takes many transactions. The first marks the store's own description, and a manager refuses a store
//! with the mark: it never serves a part of the whole for the whole. Every further one depends on the mark, the last takes
//! it off after all has been read back and compared. So a transfer that was cut off is merely run again.
//!
//! What was filled begins a new epoch, above that of the copy and that of the store: instances take its policies,
//! whatever they had before.

use std::{path::PathBuf, sync::Arc};

use crate::{
    config::{Config, StoreKind},
    server::{self, StartError, open_store},
    store::{EmbeddedStore, Listing, Store, StoreError, StoreIdentity},
};

mod copy;
mod fill;

pub use self::{
    copy::{CopyError, StoreCopy},
    fill::{FillError, Filled, Progress, fill},
};
pub use crate::registry::{Inspection, Problem, inspect};

/// All that a store holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Which store it is.
    pub identity: StoreIdentity,
    /// Its entries, at one revision.
    pub listing: Listing,
}

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no file of an embedded store.
    #[error("there is no store in {}: say with --data-dir where it is", dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be opened, or does not answer.
    #[error(transparent)]
    Open(#[from] StartError),
}

/// From now on a file that grows beyond the limit of the process (`ulimit -f`) is an error of whoever writes it, as on a
/// full disk, and does not end the process. Must be called within a Tokio runtime.
///
/// # Errors
/// [`StartError::Signals`] where the system does not allow it.
pub fn outlive_file_size_limit() -> Result<(), StartError> {
    server::outlive_file_size_limit().map_err(StartError::Signals)
}

/// Reads all that the configured store holds and changes nothing. The file of an embedded store is checked from end to
/// end.
///
/// # Errors
/// [`ReadError`]; also where a manager has an embedded store open.
pub async fn read(config: &Config) -> Result<Contents, ReadError> {
    let kind = config.store.kind;
    let failed = |error| StartError::Store { kind, error };
    if kind == StoreKind::Embedded {
        let dir = config.store.data_dir.clone().unwrap_or_default();
        if !EmbeddedStore::exists(&dir) {
            return Err(ReadError::NoStore { dir });
        }
        let (identity, listing) = EmbeddedStore::examine(dir).await.map_err(failed)?;
        return Ok(Contents { identity, listing });
    }
    let store = open_store(config).await?;
    Ok(read_from(&*store).await.map_err(failed)?)
}

/// The same for a store that is open.
pub(crate) async fn read_from(store: &dyn Store) -> Result<Contents, StoreError> {
    let identity = store.identity().await?;
    let listing = store.list("").await?;
    Ok(Contents { identity, listing })
}

/// Opens the configured store to be filled; an embedded one is made where there is none.
///
/// # Errors
/// [`StartError`] as where a manager opens the store.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config).await
}
