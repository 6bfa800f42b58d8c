//! What can be wrong with the file, in one type until it is known which file it is.
//!
//! redb reports damage as an error in most places and by panicking in some; both become [`StoreError::Corrupt`].

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Once,
};

use super::{layout::SCHEMA, record::Malformed};
use crate::store::StoreError;

#[derive(Debug)]
pub(super) enum Trouble {
    Database(redb::Error),
    /// What is there contradicts itself.
    Damage(&'static str),
    /// A layout of another version.
    Layout(u128),
}

impl Trouble {
    /// The error to report, which names the file.
    pub(super) fn with(self, path: &Path) -> StoreError {
        let path = path.display();
        let corrupt = |what: String| StoreError::Corrupt { reason: format!("{path}: {what}") };
        match self {
            Self::Damage(what) => corrupt(what.to_owned()),
            Self::Layout(found) => {
                StoreError::Incompatible { reason: format!("{path} has layout {found}, this version knows {SCHEMA}") }
            }
            Self::Database(redb::Error::DatabaseAlreadyOpen) => StoreError::InUse { path: path.to_string() },
            Self::Database(redb::Error::Io(error)) => {
                let reason = format!("{path}: {error}");
                match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                        StoreError::Full { reason }
                    }
                    // What redb says of a file that does not begin like one of its own, or ends too early.
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StoreError::Corrupt { reason },
                    _ => StoreError::Unavailable { reason },
                }
            }
            Self::Database(error @ redb::Error::UpgradeRequired(_)) => {
                StoreError::Incompatible { reason: format!("{path}: {error}") }
            }
            Self::Database(
                error @ (redb::Error::Corrupted(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableDoesNotExist(_)
                | redb::Error::TableIsMultimap(_)),
            ) => corrupt(error.to_string()),
            Self::Database(error) => StoreError::Unavailable { reason: format!("{path}: {error}") },
        }
    }
}

/// Runs what may meet a damaged file.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    quieten();
    let outside = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outside);
    result.unwrap_or(Err(Trouble::Damage("its pages contradict each other")))
}

thread_local! {
    /// Whether a panic of this thread is caught here.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a panic that is caught here from being printed as if the program had failed: whoever reads the log gets one
/// line that says which file is damaged.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if GUARDED.get() {
                tracing::debug!(%panic, "a damaged store");
            } else {
                print(panic);
            }
        }));
    });
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Damage(malformed.0)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Database(error.into())
    }
}

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for Trouble {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

from_redb! { CommitError DatabaseError StorageError TableError TransactionError }
