//! What can be wrong with the file, in one type until it is known which file it is.
//!
//! redb reports damage as an error in most places and by panicking in some; both become [`StoreError::Corrupt`].

use std::{
    any::Any,
    cell::Cell,
    io::{self, ErrorKind},
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Once,
};

use super::{layout::SCHEMA, record::Malformed};
use crate::store::StoreError;

/// The longest text of a panic that is repeated, in characters.
const MAX_WORDS: usize = 200;

#[derive(Debug)]
pub(super) enum Trouble {
    Database(redb::Error),
    /// What is there contradicts itself.
    Damage(&'static str),
    /// What is there made redb give up, with these words.
    Panic(String),
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
            Self::Panic(words) => corrupt(format!("its pages contradict each other ({words})")),
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
    result.unwrap_or_else(|panic| Err(Trouble::Panic(words(&*panic))))
}

/// What a panic says, in one line of bounded length.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let line = text.and_then(|text| text.lines().find(|line| !line.trim().is_empty())).unwrap_or("no reason given");
    line.trim().chars().filter(|character| !character.is_control()).take(MAX_WORDS).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_made_redb_give_up_is_in_the_reason() {
        let reason = |panics: fn()| {
            let met = guard(|| {
                panics();
                Ok(())
            });
            met.expect_err("it has panicked").with(Path::new("/data/cofferdam.redb")).to_string()
        };
        let told = reason(|| panic!("\n  page {} is not\u{7} in order\nleft: 1", 7));
        assert_eq!(
            told,
            "store corrupt: /data/cofferdam.redb: its pages contradict each other (page 7 is not in order)"
        );
        assert!(reason(|| panic!("assertion failed")).ends_with("(assertion failed)"));
        assert!(reason(|| std::panic::panic_any(7)).ends_with("(no reason given)"));
        let long = reason(|| panic!("{}", "x".repeat(10_000)));
        assert!(long.contains(&"x".repeat(MAX_WORDS)) && long.len() < 2 * MAX_WORDS, "{long}");
    }
}
