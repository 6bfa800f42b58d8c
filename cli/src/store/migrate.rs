use super::{Error, MigrateArgs, name, tell};
use crate::output::say;
use cofferdam_server::StartError;
use cofferdam_server::clock::SystemClock;
use cofferdam_server::config::Config;
use cofferdam_server::maintenance::{FillError, StoreCopy, fill, open, read};
use std::io::Write;

pub(super) const HELP: &str = "\
Stop the managers of both stores first: what is written to the source meanwhile is found at the end, and nothing is
finished. Every key is compared after it is written, and the new store begins a new epoch, so that instances take its
policies. The source is left as it is. Results of requests, which are kept for minutes, are left behind: a request that is
repeated after the migration counts as another one. Cut off, the new store is refused by managers until the same command has
been run again. Exit codes: 0 the store is filled, 1 it is not, 2 the command line or the settings make no sense.

Examples:
  cofferdam store migrate --from embedded:/var/lib/cofferdam --to etcd:a:2379,b:2379,c:2379
  cofferdam store migrate --from etcd:a:2379 --to embedded:/var/lib/cofferdam
  cofferdam store migrate --from embedded --to etcd --config /etc/cofferdam.toml";

pub(super) async fn run(args: &MigrateArgs, out: &mut dyn Write) -> Result<(), Error> {
    let load =
        |place: &super::Place| Config::load_for_store(&place.args(args.etcd_prefix.as_ref(), args.config.as_ref()));
    let (from, to) = (load(&args.from)?, load(&args.to)?);
    if from.store == to.store {
        return Err(Error::Same);
    }
    let copy = copy(&from).await?;
    say(&format!("{} keys of {} at revision {}", copy.keys(), name(&from), copy.revision()));
    let target = open(&to).await?;
    // Settings that differ may name one store: endpoints in another order, a path through a link.
    let identity = target.identity().await.map_err(|error| StartError::Store { kind: to.store.kind, error })?;
    if identity == copy.identity() {
        return Err(Error::Same);
    }
    let unchanged = async {
        let changed = |reason: String| Err(FillError::Source { reason });
        match self::copy(&from).await {
            Ok(now) if now.holds_the_same_as(&copy) => Ok(()),
            Ok(now) => changed(format!("it is at revision {} now", now.revision())),
            Err(error) => changed(error.to_string()),
        }
    };
    let filled = fill(&*target, &copy, args.replace, &SystemClock, unchanged, tell).await;
    let filled = filled.map_err(|error| Error::Fill { store: name(&to), error })?;
    Ok(writeln!(out, "{} keys, epoch {}, revision {}", filled.keys, filled.epoch, filled.revision)?)
}

/// All that a store holds now.
async fn copy(config: &Config) -> Result<StoreCopy, Error> {
    let contents = read(config).await?;
    StoreCopy::of(&contents, &SystemClock).map_err(|error| Error::Copy { store: name(config), error })
}
