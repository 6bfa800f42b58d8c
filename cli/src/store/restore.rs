use super::{Error, RestoreArgs, name, tell};
use crate::output::say;
use cofferdam_server::clock::SystemClock;
use cofferdam_server::config::Config;
use cofferdam_server::maintenance::{StoreCopy, fill, open};
use std::future::ready;
use std::io::Write;

pub(super) const HELP: &str = "\
The checksum is verified before anything is written, and every key is compared after. The store begins a new epoch, so that
instances take the restored policies whatever they had before. No manager may use an embedded store meanwhile; those on etcd
wait and go on with what was restored. Cut off, the store is refused by managers until the same command has been run again.
Exit codes: 0 the store is filled, 1 it is not, 2 the command line or the settings make no sense.

Examples:
  cofferdam store restore cofferdam.backup --data-dir /var/lib/cofferdam
  cofferdam store restore cofferdam.backup --store etcd --etcd-endpoints a:2379 --replace";

pub(super) async fn run(args: &RestoreArgs, out: &mut dyn Write) -> Result<(), Error> {
    let config = Config::load_for_store(&args.store)?;
    let file = std::fs::File::open(&args.file).map_err(|error| Error::File { path: args.file.clone(), error })?;
    let copy = StoreCopy::from_file(file).map_err(|error| Error::Backup { path: args.file.clone(), error })?;
    say(&format!(
        "{}: {} keys at revision {} of epoch {}, written by release {}",
        args.file.display(),
        copy.keys(),
        copy.revision(),
        copy.epoch(),
        copy.release()
    ));
    let target = open(&config).await?;
    let filled = fill(&*target, &copy, args.replace, &SystemClock, ready(Ok(())), tell).await;
    let filled = filled.map_err(|error| Error::Fill { store: name(&config), error })?;
    Ok(writeln!(out, "{} keys, epoch {}, revision {}", filled.keys, filled.epoch, filled.revision)?)
}
