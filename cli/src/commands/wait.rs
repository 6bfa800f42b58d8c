//! `cofferdam wait`.

use super::Error;
use super::convergence::{self, Enough, Subject, applied, counts, is_unused, look, say_missing};
use super::moment::revision;
use super::session::{Common, ServiceName, Session};
use crate::output::{length, say};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1;

pub(super) const HELP: &str = "\
Exit codes: 0 enough instances have it in force, 3 they have not within --timeout, or nobody uses the service.

Examples:
  cofferdam wait payments
  cofferdam wait payments --revision 20 --quorum 80% --timeout 1m";

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Condition {
    /// Instances have the policy in force
    Converged,
}

/// What to wait for.
#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// The service
    service: ServiceName,
    /// The revision that is to be in force; a later one counts as well [default: the present one]
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    revision: Option<v1::Revision>,
    /// What to wait for
    #[arg(long = "for", value_name = "CONDITION", value_enum, default_value_t = Condition::Converged)]
    condition: Condition,
    /// How many instances are enough: a number, or a share such as 80% [default: all]
    #[arg(long, value_name = "N")]
    quorum: Option<Enough>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &WaitArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let Condition::Converged = args.condition;
    let place = session.place(&args.service);
    let name = session.shown(&place.0, &place.1);
    let epoch = match args.revision {
        Some(revision) if revision.epoch != 0 => Some(revision.epoch),
        Some(_) => session.info(&args.service).await?.service.and_then(|service| Some(service.revision?.epoch)),
        None => None,
    };
    let revision = args.revision.map(|revision| v1::Revision { epoch: epoch.unwrap_or_default(), ..revision });
    let seen = look(session, place.clone()).await?;
    if is_unused(&seen) {
        return Err(Error::degraded(format!("{name}: no instance uses it"), "cofferdam get instances"));
    }
    let waited = convergence::wait(session, place, seen, revision, Subject::Policy, args.quorum).await?;
    if session.format.is_document() {
        session.document(&waited.answer)?;
    }
    let found = waited.answer.convergence.unwrap_or_default();
    if waited.answer.reached {
        if !session.format.is_document() {
            say(&format!("{name}: {} in {}", applied(&found), length(Some(waited.took))));
        }
        return Ok(());
    }
    say_missing(&found);
    if counts(&found).1 == 0 {
        return Err(Error::degraded(format!("{name}: no instance uses it"), "cofferdam get instances"));
    }
    let waited = length(Some(waited.took));
    let mend = format!("cofferdam describe service {name}");
    Err(Error::degraded(format!("{name}: {} after {waited}", applied(&found)), mend))
}
