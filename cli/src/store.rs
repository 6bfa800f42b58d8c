//! `cofferdam store`: what an operator does to a store while no manager has it.
//!
//! Here is what is said and where; what is done is the manager's crate's, which alone knows what a store holds.

mod backup;
mod check;
mod error;
mod migrate;
mod place;
mod restore;

pub(crate) use self::error::Error;

use self::place::Place;
use crate::output::say;
use clap::{Args, Subcommand};
use cofferdam_server::config::{StoreArgs, StoreKind};
use cofferdam_server::maintenance::{Progress, outlive_file_size_limit};
use std::io::Write;
use std::path::PathBuf;

/// What to do to a store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read all that a store holds and say what is wrong with it; changes nothing.
    #[command(after_help = check::HELP)]
    Check(StoreArgs),
    /// Write all that a store holds at one revision into one file.
    #[command(after_help = backup::HELP)]
    Backup(BackupArgs),
    /// Fill an empty store from a backup.
    #[command(after_help = restore::HELP)]
    Restore(RestoreArgs),
    /// Fill an empty store from another one, of the same kind or not.
    #[command(after_help = migrate::HELP)]
    Migrate(MigrateArgs),
}

/// What to back up, and where to.
#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// The file to write; must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What to restore, and where to.
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The file that `cofferdam store backup` wrote
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Delete everything the target store holds, then fill it
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What to move, and where to.
#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    /// The store to read: embedded:DIR or etcd:HOST:PORT,...; without a colon, the one that the settings name
    #[arg(long, value_name = "STORE")]
    pub(crate) from: Place,
    /// The store to fill, said the same way
    #[arg(long, value_name = "STORE")]
    pub(crate) to: Place,
    /// Delete everything the target store holds, then fill it
    #[arg(long)]
    pub(crate) replace: bool,
    /// What all keys begin with in etcd; ends with a slash [env: COFFERDAM_STORE_ETCD_PREFIX]
    /// [default: /cofferdam/v1/]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) etcd_prefix: Option<String>,
    /// File with further settings, in TOML [env: COFFERDAM_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Does it. Data goes to `out`, words about it to the standard error.
pub(crate) async fn run(command: StoreCommand, out: &mut dyn Write) -> Result<(), Error> {
    outlive_file_size_limit()?;
    match command {
        StoreCommand::Check(args) => check::run(&args, out).await,
        StoreCommand::Backup(args) => backup::run(&args, out).await,
        StoreCommand::Restore(args) => restore::run(&args, out).await,
        StoreCommand::Migrate(args) => migrate::run(&args, out).await,
    }
}

/// How a store is named in what is printed.
fn name(config: &cofferdam_server::config::Config) -> String {
    let store = &config.store;
    match (store.kind, &store.data_dir) {
        (StoreKind::Embedded, Some(dir)) => format!("embedded:{}", dir.display()),
        (StoreKind::Etcd, _) => format!("etcd:{}, {}", store.etcd_endpoints.join(","), store.etcd_prefix),
        (kind, _) => kind.to_string(),
    }
}

/// Says how far a transfer is.
fn tell(progress: Progress) {
    let line = match progress {
        Progress::Resumed => "an earlier transfer was cut off: going on where it stopped".to_owned(),
        Progress::Written { done, of } => format!("{done} of {of} keys written"),
        Progress::Verifying => "reading back and comparing".to_owned(),
    };
    say(&line);
}
