//! `cofferdam rollback`: services as they were.

use super::Error;
use super::convergence::{self, Subject, is_unused, look, say_missing};
use super::history::field;
use super::moment::{Moment, revision, time, written};
use super::session::{ALL_NAMESPACES, ServiceName, Session};
use super::write::{WriteArgs, request_id};
use crate::output::{Format, length, say};
use clap::Args;
use cofferdam_proto::v1;
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

pub(super) const HELP: &str = "\
A rollback is a change like any other, with a revision of its own: it can be undone.

Exit codes: 0 all is as it was, 3 some services could not be put back or not yet, or are not in force in time. With --all,
--wait is for every service of the namespace, those that had not changed included.

Examples:
  cofferdam history payments
  cofferdam rollback payments --to-revision 19 --reason 'too strict'
  cofferdam rollback payments --to-time 10m --dry-run
  cofferdam rollback --all --to-time 2026-11-22T03:00:00Z --reason 'the release of this night'";

/// How long a change of many services is waited for; the managers go on with it in any case.
const PATIENCE: Duration = Duration::from_secs(600);

/// What goes back, and to when.
#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    /// The service
    #[arg(required_unless_present_any = ["all", "all_namespaces"])]
    service: Option<ServiceName>,
    /// All services of the namespace
    #[arg(long, conflicts_with = "service")]
    all: bool,
    /// All services of every namespace
    #[arg(long, short = 'A', conflicts_with = "service")]
    all_namespaces: bool,
    /// To what it was at this revision, such as 19, or with its epoch 7.19; of one service
    #[arg(long, value_name = "REVISION", value_parser = revision, conflicts_with_all = ["to_time", "all", "all_namespaces"])]
    to_revision: Option<v1::Revision>,
    /// To what it was at this time, or so long ago: 2026-11-22T03:00:00Z, 10m
    #[arg(long, value_name = "TIME", value_parser = time, required_unless_present = "to_revision")]
    to_time: Option<SystemTime>,
    /// Unregister what was not registered then, instead of leaving it alone
    #[arg(long)]
    unregister_newer: bool,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Does it.
pub(super) async fn run(args: &RollbackArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = match &args.service {
        Some(service) => session.place(service),
        None if args.all_namespaces => (ALL_NAMESPACES.to_owned(), String::new()),
        None => (session.namespace.clone(), String::new()),
    };
    let to = args.to_revision.map(Moment::Revision).or_else(|| args.to_time.map(Moment::Time));
    let to = match (to, &args.service) {
        (Some(to), Some(service)) => {
            args.write.certain(service, session).await?;
            Some(to.of(service, session).await?)
        }
        (to, _) => to.map(Moment::to_wire),
    };
    let request = v1::RollbackRequest {
        namespace,
        service,
        to,
        expected_revision: args.write.expected(),
        request_id: if args.write.dry_run { String::new() } else { request_id() },
        reason: args.write.reason.clone(),
        validate_only: args.write.dry_run,
        unregister_newer: args.unregister_newer,
    };
    let answer = ask(request, session).await?;
    match session.format {
        Format::Json | Format::Yaml => session.document(&answer)?,
        Format::Name => {
            for service in &answer.services {
                let name = session.shown(&service.namespace, &service.service);
                writeln!(session.out, "{name}")?;
            }
        }
        Format::Table | Format::Wide => {
            for service in &answer.services {
                let name = session.shown(&service.namespace, &service.service);
                writeln!(session.out, "{name}: {}", told(service, args.write.dry_run))?;
                // Those of a service that is left alone are what was not done to it.
                if service.outcome() == v1::RollbackOutcome::Done {
                    service.changes.iter().try_for_each(|change| writeln!(session.out, "  {}", field(change)))?;
                }
            }
            if args.service.is_none() {
                say(&format!("{} more had not changed since", answer.unchanged));
            }
        }
    }
    session.out.flush()?;
    if args.write.dry_run {
        say("nothing was changed");
    }
    settle(args, &answer, session).await
}

/// Asks, and where many services take more than one transaction, asks again until it is done: the same request, so that whichever
/// manager answers waits on. Says how far it is.
async fn ask(request: v1::RollbackRequest, session: &Session<'_>) -> Result<v1::RollbackResponse, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = session.client.call(request.clone()).await?;
        let Some(bulk) = &answer.bulk else { return Ok(answer) };
        say(&progress(bulk));
        if bulk.finished || Instant::now() >= deadline {
            return Ok(answer);
        }
    }
}

/// How far a change of many services is.
fn progress(bulk: &v1::BulkChange) -> String {
    let v1::BulkChange { services, done, left_alone_count, .. } = bulk;
    let left = if *left_alone_count == 0 { String::new() } else { format!(", {left_alone_count} left alone") };
    format!("{done} of {services} services put back{left}")
}

/// Waits where that was asked for, and says what is not as it should be.
async fn settle(args: &RollbackArgs, answer: &v1::RollbackResponse, session: &Session<'_>) -> Result<(), Error> {
    let mut wrong = Vec::new();
    if let Some(bulk) = answer.bulk.as_ref().filter(|bulk| !bulk.finished) {
        wrong.push(format!("{}: the managers go on with it", progress(bulk)));
    }
    let late = if args.write.wait && args.service.is_none() { everywhere(args, session).await? } else { Vec::new() };
    // Who is late is known, and waited for once.
    let is_late = !late.is_empty();
    wrong.extend(late);
    for service in &answer.services {
        let name = session.shown(&service.namespace, &service.service);
        match service.outcome() {
            v1::RollbackOutcome::Refused | v1::RollbackOutcome::Unknown => {
                wrong.push(format!("{name}: {}", service.error))
            }
            v1::RollbackOutcome::Done | v1::RollbackOutcome::Unchanged if at(service).is_some() && !is_late => {
                let place = (service.namespace.clone(), service.service.clone());
                match args.write.await_instances(place, at(service), Subject::Policy, session).await? {
                    Some(Ok(waited)) => say(&format!("{name}: {waited}")),
                    Some(Err(why)) => wrong.push(format!("{name}: {why}")),
                    None => {}
                }
            }
            _ => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.push(format!(
        "try: cofferdam history{}",
        args.service.as_ref().map_or_else(String::new, |one| format!(" {one}"))
    ));
    Err(Error::Degraded(wrong))
}

/// Waits until every service of the namespaces is in force as it is now, those that had not changed and are in no answer
/// included: a line for each that is not.
async fn everywhere(args: &RollbackArgs, session: &Session<'_>) -> Result<Vec<String>, Error> {
    let mut namespaces = BTreeSet::from([session.namespace.clone()]);
    if args.all_namespaces {
        namespaces.clear();
        let take = |isolated: v1::IsolatedService, _| {
            namespaces.extend(isolated.service.map(|service| service.namespace));
        };
        session.client.each_service(ALL_NAMESPACES, &["service.namespace"], take).await?;
    }
    let waits = namespaces.into_iter().map(|namespace| async {
        let place = (namespace.clone(), String::new());
        let seen = look(session, place.clone()).await?;
        if is_unused(&seen) {
            return Ok::<_, Error>((namespace, None));
        }
        let waited = convergence::wait(session, place, seen, None, Subject::Policy, args.write.quorum).await?;
        Ok((namespace, Some(waited)))
    });
    let mut late = Vec::new();
    for (namespace, waited) in try_join_all(waits).await? {
        let Some(waited) = waited else {
            say(&format!("{namespace}: no instance uses a service of it"));
            continue;
        };
        let took = length(Some(waited.took));
        let found = waited.answer.convergence.unwrap_or_default();
        if waited.answer.reached {
            say(&format!("{namespace}: every service that instances use is in force, after {took}"));
            continue;
        }
        say_missing(&found);
        let behind = |one: &v1::ServiceConvergence| {
            let name = session.shown(&one.namespace, &one.service);
            format!("{name}: applied by {}/{} after {took}", one.applied, one.instances)
        };
        let before = late.len();
        late.extend(found.services.iter().filter(|one| one.applied < one.instances).map(behind));
        if late.len() == before {
            late.push(format!("{namespace}: nobody knows after {took} whether all is in force"));
        }
    }
    Ok(late)
}

/// The revision that a service is at. `None`: it is not registered, or nothing was to be written.
fn at(service: &v1::RolledBackService) -> Option<v1::Revision> {
    let is_unchanged = service.outcome() == v1::RollbackOutcome::Unchanged;
    service.revision.or_else(|| service.from.filter(|_| is_unchanged))
}

fn told(service: &v1::RolledBackService, is_dry: bool) -> String {
    let v1::RolledBackService { from, to, revision, .. } = service;
    let written = written([from, to, revision].into_iter().flatten());
    let number = |revision: &Option<v1::Revision>| written(revision.as_ref());
    match (service.outcome(), is_dry) {
        (v1::RollbackOutcome::Done, true) => match (from, to) {
            (Some(_), Some(_)) => format!("would go back to {}, from {}", number(to), number(from)),
            (None, _) => format!("would be registered again, as at {}", number(to)),
            (Some(_), None) => format!("would be unregistered, from {}", number(from)),
        },
        (v1::RollbackOutcome::Done, false) => match (from, to) {
            (Some(_), Some(_)) => format!("back to {}, revision {} -> {}", number(to), number(from), number(revision)),
            (None, _) => format!("registered again, as at {}, revision {}", number(to), number(revision)),
            (Some(_), None) => format!("unregistered, revision {} -> {}", number(from), number(revision)),
        },
        (v1::RollbackOutcome::Unchanged, _) => match from {
            Some(_) => format!("is as it was, revision {}", number(from)),
            None => "is as it was: not registered".to_owned(),
        },
        (v1::RollbackOutcome::LeftAlone, _) => "left alone: it was not registered then (--unregister-newer)".to_owned(),
        (v1::RollbackOutcome::Unknown, _) => "nobody knows whether it was put back".to_owned(),
        (v1::RollbackOutcome::Refused, _) => "could not be put back".to_owned(),
        (v1::RollbackOutcome::Unspecified, _) => "the manager says something of a later release".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_service_is_told_in_a_line() {
        let revision = |revision| Some(v1::Revision { epoch: 1, revision });
        let mut service = v1::RolledBackService {
            outcome: v1::RollbackOutcome::Done.into(),
            from: revision(9),
            to: revision(4),
            revision: revision(12),
            ..v1::RolledBackService::default()
        };
        assert_eq!(told(&service, false), "back to 4, revision 9 -> 12");
        assert_eq!(told(&service, true), "would go back to 4, from 9");
        service.from = Some(v1::Revision { epoch: 2, revision: 9 });
        assert_eq!(told(&service, true), "would go back to 1.4, from 2.9");
        // Before, what was not registered stood there as an empty revision.
        let gone = v1::RolledBackService { from: None, ..service.clone() };
        assert_eq!(told(&gone, true), "would be registered again, as at 4");
        assert_eq!(told(&gone, false), "registered again, as at 4, revision 12");
        let newer = v1::RolledBackService { from: revision(9), to: None, ..service.clone() };
        assert_eq!(told(&newer, true), "would be unregistered, from 9");
        assert_eq!(told(&newer, false), "unregistered, revision 9 -> 12");
        // Before, one that had been so was not waited for.
        let same = v1::RolledBackService { outcome: v1::RollbackOutcome::Unchanged.into(), ..newer.clone() };
        assert_eq!(at(&v1::RolledBackService { revision: None, ..same }), revision(9));
        assert_eq!((at(&newer), at(&v1::RolledBackService { revision: None, ..newer.clone() })), (revision(12), None));
        service.outcome = v1::RollbackOutcome::LeftAlone.into();
        assert!(told(&service, false).contains("--unregister-newer"));
        let mut bulk = v1::BulkChange { services: 100, done: 62, ..v1::BulkChange::default() };
        assert_eq!(progress(&bulk), "62 of 100 services put back");
        bulk.left_alone_count = 2;
        assert_eq!(progress(&bulk), "62 of 100 services put back, 2 left alone");
    }
}
