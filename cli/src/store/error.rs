use cofferdam_server::StartError;
use cofferdam_server::config::ConfigError;
use cofferdam_server::maintenance::{CopyError, FillError, ReadError};
use std::io;
use std::path::PathBuf;

/// Why something was not done to a store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The settings do not say which store.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] StartError),
    /// The store has problems, which were listed.
    #[error("{count} {}", if *count == 1 { "problem was found" } else { "problems were found" })]
    Problems {
        /// How many.
        count: usize,
    },
    /// The store cannot be copied.
    #[error("{store} cannot be copied: {error}")]
    Copy {
        /// Which store.
        store: String,
        /// Why.
        error: CopyError,
    },
    /// The file is no backup that can be used.
    #[error("{} cannot be restored: {error}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CopyError,
    },
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        error: io::Error,
    },
    /// The file is there already.
    #[error("{} exists and is left as it is: choose another --output", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The standard output was named for a backup.
    #[error(
        "a backup is written to a file, whole or not at all: --output takes a name, not - (./- is a file of that name)"
    )]
    NoFile,
    /// The store cannot be filled.
    #[error("{store} was not filled: {error}")]
    Fill {
        /// Which store.
        store: String,
        /// Why.
        error: FillError,
    },
    /// Source and target are one.
    #[error("--from and --to are the same store")]
    Same,
    /// The output cannot be written to.
    #[error("the output cannot be written to: {0}")]
    Output(#[from] io::Error),
}
