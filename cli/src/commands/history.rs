//! `cofferdam history`: who changed what, when and why.

use super::Error;
use super::moment;
use super::ordered;
use super::session::{ALL_NAMESPACES, Common, ServiceName, Session};
use crate::clock;
use crate::message::shown;
use crate::output::{Format, Table, Yielding, age};
use clap::Args;
use cofferdam_proto::v1;
use std::time::{Duration, SystemTime};

pub(super) const HELP: &str = "\
Examples:
  cofferdam history payments
  cofferdam history -A --limit 50
  cofferdam history payments -o wide";

/// What gives way on a narrow terminal.
const YIELDING: &[Yielding] = &[("WHY", 20), ("WHAT", 32), ("WHO", 10), ("WHY", 10), ("WHAT", 20), ("WHY", 0)];

/// The most changes of a page.
const PAGE: i32 = 100;

/// Of which service, and how many.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// The service [default: all of the namespace]
    service: Option<ServiceName>,
    /// Every namespace
    #[arg(long, short = 'A', conflicts_with = "service")]
    all_namespaces: bool,
    /// How many changes, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &HistoryArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = match &args.service {
        Some(service) => session.place(service),
        None if args.all_namespaces => (ALL_NAMESPACES.to_owned(), String::new()),
        None => (session.namespace.clone(), String::new()),
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut all = v1::ListRevisionsResponse::default();
    while all.revisions.len() < limit {
        let left = i32::try_from(limit - all.revisions.len()).unwrap_or(PAGE);
        let request = v1::ListRevisionsRequest {
            namespace: namespace.clone(),
            service: service.clone(),
            page_size: left.min(PAGE),
            page_token: all.next_page_token.clone(),
        };
        let page = session.client.call(request).await?;
        all.revisions.extend(page.revisions);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    match session.format {
        Format::Json | Format::Yaml => session.document(&all),
        Format::Name => {
            let written = moment::written(all.revisions.iter().filter_map(|change| change.revision.as_ref()));
            for change in &all.revisions {
                writeln!(session.out, "{}", written(change.revision.as_ref()))?;
            }
            Ok(session.out.flush()?)
        }
        Format::Table => session.table(&table(&all.revisions, 1, session, clock::now())),
        Format::Wide => session.table(&table(&all.revisions, usize::MAX, session, clock::now())),
    }
}

/// A line for each change, with so many of the fields that differ.
fn table(changes: &[v1::ServiceRevision], most: usize, session: &Session<'_>, now: SystemTime) -> Table {
    let written = moment::written(changes.iter().filter_map(|change| change.revision.as_ref()));
    let mut table = Table::new(["REVISION", "SERVICE", "AGE", "WHO", "WHAT", "WHY"]).yielding(YIELDING);
    for change in changes {
        table.push(vec![
            written(change.revision.as_ref()).into(),
            session.shown(&change.namespace, &change.service).into(),
            age(since(change.time, now)).into(),
            change.actor.as_str().into(),
            what(change, most).into(),
            change.reason.as_str().into(),
        ]);
    }
    table
}

fn since(time: Option<prost_types::Timestamp>, now: SystemTime) -> Option<Duration> {
    now.duration_since(SystemTime::try_from(time?).ok()?).ok()
}

/// `level: level enhanced -> full`.
fn what(change: &v1::ServiceRevision, most: usize) -> String {
    let kind = change.kind().as_str_name().trim_start_matches("CHANGE_KIND_").to_lowercase();
    let kind = match &change.restored {
        Some(restored) => {
            let written = moment::written(change.revision.iter().chain([restored]));
            format!("{kind} to {}", written(Some(restored)))
        }
        None => kind,
    };
    let (mut fields, others) = ordered::told(&change.changes);
    let untold = others.len().saturating_sub(most);
    fields.extend(others.into_iter().take(most).map(field));
    let untold = u64::from(change.more_changes) + u64::try_from(untold).unwrap_or_default();
    if untold > 0 {
        fields.push(format!("and {untold} more"));
    }
    if fields.is_empty() { kind } else { format!("{kind}: {}", fields.join(", ")) }
}

/// `retry.max_attempts 3 -> 5`, `level basic (unset) -> full (auto)`.
pub(super) fn field(change: &v1::FieldChange) -> String {
    let side = |value: &Option<String>, default: &Option<String>| match (value, default) {
        (Some(value), None) => shown(value),
        (Some(auto), Some(followed)) => format!("{} ({})", shown(followed), shown(auto)),
        (None, Some(default)) => format!("{} (unset)", shown(default)),
        (None, None) => "unset".to_owned(),
    };
    let (before, after) = (side(&change.before, &change.before_default), side(&change.after, &change.after_default));
    format!("{} {before} -> {after}", change.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_in_a_line() {
        let field = |path: &str, before: Option<&str>, after: Option<&str>| v1::FieldChange {
            path: path.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            ..Default::default()
        };
        let mut change = v1::ServiceRevision {
            kind: v1::ChangeKind::Policy.into(),
            changes: vec![field("retry.max_attempts", Some("3"), Some("5")), field("level", None, Some("full"))],
            more_changes: 2,
            ..v1::ServiceRevision::default()
        };
        assert_eq!(what(&change, 1), "policy: retry.max_attempts 3 -> 5, and 3 more");
        assert_eq!(what(&change, 9), "policy: retry.max_attempts 3 -> 5, level unset -> full, and 2 more");
        change.changes[1].before_default = Some("ISOLATION_LEVEL_BASIC".to_owned());
        assert!(what(&change, 9).contains("level basic (unset) -> full"), "{}", what(&change, 9));
        let level = |name: &str| Some(format!("ISOLATION_LEVEL_{name}"));
        let auto = &mut change.changes[1];
        (auto.before, auto.before_default, auto.after) = (level("AUTO"), level("BASIC"), level("AUTO"));
        auto.after_default = level("FULL");
        assert!(what(&change, 9).contains("level basic (auto) -> full (auto)"), "{}", what(&change, 9));
        change.restored = Some(v1::Revision { epoch: 1, revision: 7 });
        (change.kind, change.more_changes) = (v1::ChangeKind::Rollback.into(), 0);
        change.changes.clear();
        assert_eq!(what(&change, 1), "rollback to 7");
        change.revision = Some(v1::Revision { epoch: 2, revision: 9 });
        assert_eq!(what(&change, 1), "rollback to 1.7");
    }
}
