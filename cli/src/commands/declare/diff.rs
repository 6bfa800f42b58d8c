use super::super::Error;
use super::super::history::field;
use super::super::moment::{Moment, written};
use super::super::session::{Common, ServiceName, Session};
use super::apply::{plan, show};
use super::manifest::load;
use crate::output::{Format, say};
use clap::Args;
use cofferdam_proto::v1;
use std::path::PathBuf;

pub(in crate::commands) const HELP: &str = "\
With files, where services differ from what they say; exit codes: 0 everything is as the files say, 3 something is not.
With a service, what differs between two points of its history, each a revision, a time, or so long ago.

Examples:
  cofferdam diff payments 18 19
  cofferdam diff payments 1h
  cofferdam diff -f services.yaml
  cofferdam export | cofferdam diff -f - -s http://staging:7420";

/// What to compare.
#[derive(Args, Debug)]
#[command(
    override_usage = "cofferdam diff [OPTIONS] <SERVICE> <FROM> [TO]\n       cofferdam diff [OPTIONS] --file <FILE>"
)]
pub(crate) struct DiffArgs {
    /// The service
    #[arg(required_unless_present = "file", requires = "from")]
    service: Option<ServiceName>,
    /// From when: 18, 7.18 with its epoch, 2026-11-22T03:00:00Z, 10m
    from: Option<Moment>,
    /// To when [default: now]
    to: Option<Moment>,
    /// As with `apply`
    #[arg(long, short, value_name = "FILE", conflicts_with = "service")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::commands) common: Common,
}

/// Prints what `apply` would change, or what has changed.
pub(in crate::commands) async fn run(args: &DiffArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if let (Some(service), Some(from)) = (&args.service, args.from) {
        return revisions(service, from, args.to, session).await;
    }
    let steps = plan(load(&args.file, session)?, session).await?;
    let differing: Vec<_> = steps.iter().filter(|step| step.before.is_none() || !step.changes.is_empty()).collect();
    differing.iter().try_for_each(|step| show(step, session))?;
    session.out.flush()?;
    match differing.len() {
        0 => Ok(()),
        count => {
            let what = format!("{count} of {} services are not as the files say", steps.len());
            Err(Error::degraded(what, "cofferdam apply -f FILE"))
        }
    }
}

async fn revisions(
    service: &ServiceName,
    from: Moment,
    to: Option<Moment>,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    let (namespace, name) = session.place(service);
    let shown = session.shown(&namespace, &name);
    let from = Some(from.of(service, session).await?);
    let to = match to {
        Some(to) => Some(to.of(service, session).await?),
        None => None,
    };
    let answer = session.client.call(v1::DiffRevisionsRequest { namespace, service: name, from, to }).await?;
    match session.format {
        Format::Json | Format::Yaml => return session.document(&answer),
        Format::Name => answer.changes.iter().try_for_each(|change| writeln!(session.out, "{}", change.path))?,
        Format::Table | Format::Wide => {
            let written = written(answer.from.iter().chain(&answer.to));
            let at = |revision: Option<&v1::Revision>| match revision {
                Some(_) => written(revision),
                None => "before its first change".to_owned(),
            };
            let (from, to) = (at(answer.from.as_ref()), at(answer.to.as_ref()));
            writeln!(session.out, "{shown}: revision {from} -> {to}")?;
            answer.changes.iter().try_for_each(|change| writeln!(session.out, "  {}", field(change)))?;
            match (answer.changes.len(), answer.more_changes) {
                (0, _) => say("nothing differs"),
                (_, 0) => {}
                (_, more) => say(&format!("and {more} more")),
            }
        }
    }
    Ok(session.out.flush()?)
}
