//! Files that people write: settings, keys, certificates.

use std::{fs, io, io::Read as _, path::Path};

/// The most bytes that one may have. All certificates that machines trust take a quarter of it.
const MAX_BYTES: u64 = 1 << 20;

/// The bytes of a file. It may be a pipe, so how long it is shows when it is read.
///
/// # Errors
/// It cannot be read, or is larger than any of its kind.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES) {
        return Ok(bytes);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", MAX_BYTES >> 20)))
}
