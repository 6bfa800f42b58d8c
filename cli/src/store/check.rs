use super::{Error, name};
use crate::output::{Lines, Style};
use cofferdam_server::config::{Config, StoreArgs};
use cofferdam_server::maintenance::{Contents, Inspection, inspect, read};
use std::io::{self, Write};

pub(super) const HELP: &str = "\
An embedded store is read while no manager has it open, etcd while managers go on. Each problem is a line that begins with
\"problem\". Exit codes: 0 nothing is wrong, 1 something is, or the store cannot be read, 2 the command line or the settings
make no sense.

Examples:
  cofferdam store check
  cofferdam store check --data-dir /var/lib/cofferdam
  cofferdam store check --store etcd --etcd-endpoints a:2379,b:2379,c:2379";

pub(super) async fn run(args: &StoreArgs, out: &mut dyn Write) -> Result<(), Error> {
    let config = Config::load_for_store(args)?;
    let contents = read(&config).await?;
    let found = inspect(&contents.listing.entries);
    let written = out.write_all(&text(&config, &contents, &found)?);
    verdict(found.problems.len(), written)
}

/// What is found stands, even where nobody reads it to the end.
fn verdict(problems: usize, written: io::Result<()>) -> Result<(), Error> {
    match problems {
        0 => Ok(written?),
        count => Err(Error::Problems { count }),
    }
}

fn text(config: &Config, contents: &Contents, found: &Inspection) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut out = Lines::over(&mut bytes, Style::new(false, true));
    writeln!(out, "store             {}", name(config))?;
    writeln!(out, "identity          {}", contents.identity.cluster)?;
    writeln!(out, "revision          {}", contents.listing.revision)?;
    match found.epoch {
        Some(epoch) => writeln!(out, "epoch             {epoch}")?,
        None => writeln!(out, "epoch             none yet")?,
    }
    if found.epoch_of.as_ref().is_some_and(|identity| *identity != contents.identity.cluster) {
        writeln!(out, "epoch was made    for another store: the next manager begins a new one")?;
    }
    writeln!(out, "services          {}", found.services)?;
    writeln!(out, "health reports    {}", found.health_reports)?;
    writeln!(out, "changes           {}", found.changes)?;
    writeln!(out, "unregistered      {}", found.unregistered)?;
    writeln!(out, "bulk change       {}", found.bulk.as_deref().unwrap_or("none under way"))?;
    writeln!(out, "request results   {}", found.requests)?;
    writeln!(out, "managers          {}", found.managers)?;
    writeln!(out, "of later releases {} services, {} other keys", found.of_later_release, found.unknown)?;
    for problem in &found.problems {
        writeln!(out, "problem           {}: {}", problem.key, problem.reason)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_found_whether_or_not_anybody_reads_of_them() {
        let closed = || Err(io::ErrorKind::BrokenPipe.into());
        for written in [Ok(()), closed()] {
            assert!(matches!(verdict(2, written), Err(Error::Problems { count: 2 })));
        }
        assert!(matches!(verdict(0, closed()), Err(Error::Output(_))));
        assert!(verdict(0, Ok(())).is_ok());
    }
}
