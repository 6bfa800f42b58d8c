use super::super::session::{ALL_NAMESPACES, ServiceName, Session, lacks};
use super::services::{breaker, fallbacks, health};
use super::{Error, Listing, Window};
use crate::output::{Cell, Document, PrintError, Table, Tone, Yielding, age, basis_points, length, rate, std_duration};
use cofferdam_proto::v1;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;

/// What is shown of each.
pub(in crate::commands) const COLUMNS: &[&str] = &[
    "SERVICE",
    "INSTANCE",
    "APPLICATION",
    "STATE",
    "HEALTH",
    "SYNC",
    "REV",
    "CALLS/S",
    "ERR%",
    "P99",
    "FALLBACK%",
    "CONNECTED",
    "REPORTED",
];

/// What gives way on a narrow terminal.
const YIELDING: &[Yielding] = &[
    ("REPORTED", 0),
    ("CONNECTED", 0),
    ("FALLBACK%", 0),
    ("APPLICATION", 0),
    ("P99", 0),
    ("REV", 0),
    ("HEALTH", 0),
    ("CALLS/S", 0),
    ("ERR%", 0),
];

/// How many services are asked about at once.
const AT_ONCE: usize = 16;

/// Lists the instances of services.
pub(super) async fn list(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Listing, Error> {
    let answers = all(names, window, session).await?;
    let (mut table, mut names, mut documents) = (Table::new(COLUMNS).yielding(YIELDING), Vec::new(), Vec::new());
    for answer in &answers {
        for instance in &answer.stats.instances {
            table.push(row(answer, instance, session));
            names.push(instance.instance_id.clone());
        }
        if session.format.is_document() {
            documents.push(Document::of(&answer.stats).map_err(PrintError::from)?);
        }
    }
    Ok(Listing { table, names, documents, notes: notes(&answers) })
}

/// What answers lack, each said once.
pub(in crate::commands) fn notes(answers: &[Answer]) -> Vec<String> {
    let lacks = answers.iter().flat_map(|answer| lacks(answer.stats.stale_for, &answer.stats.unreachable_managers));
    lacks.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the instances of services report, service by service. No names: every service that some instance uses.
pub(in crate::commands) async fn all(
    names: &[ServiceName],
    window: Window,
    session: &Session<'_>,
) -> Result<Vec<Answer>, Error> {
    let places = match names {
        [] => used(session).await?,
        names => names.iter().map(|name| session.place(name)).collect(),
    };
    let asked = places.into_iter().map(|place| instances(place, window, session));
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

/// The services that some instance uses.
async fn used(session: &Session<'_>) -> Result<Vec<(String, String)>, Error> {
    let namespace = if session.namespace == ALL_NAMESPACES { String::new() } else { session.namespace.clone() };
    let request = v1::GetIsolationStatsRequest { namespace, include_services: true, ..Default::default() };
    let stats = session.client.stats(request).await?;
    let used = stats.services.into_iter().filter(|service| service.instances > 0);
    Ok(used.map(|service| (service.namespace, service.service)).collect())
}

/// A service, and what its instances report.
pub(in crate::commands) struct Answer {
    /// The namespace of the service.
    pub(in crate::commands) namespace: String,
    /// The service.
    pub(in crate::commands) service: String,
    /// Its present revision.
    pub(in crate::commands) revision: Option<v1::Revision>,
    /// What is reported.
    pub(in crate::commands) stats: v1::GetIsolationStatsResponse,
}

async fn instances(
    (namespace, service): (String, String),
    window: Window,
    session: &Session<'_>,
) -> Result<Answer, Error> {
    let info = v1::GetServiceIsolationInfoRequest { namespace: namespace.clone(), service: service.clone() };
    let request = v1::GetIsolationStatsRequest {
        namespace: namespace.clone(),
        service: service.clone(),
        include_instances: true,
        window: window.to_wire(),
        ..Default::default()
    };
    let (info, stats) = tokio::try_join!(Box::pin(session.client.call(info)), Box::pin(session.client.stats(request)))?;
    Ok(Answer { namespace, service, revision: info.service.and_then(|service| service.revision), stats })
}

/// A line of it.
pub(in crate::commands) fn row(answer: &Answer, instance: &v1::InstanceStats, session: &Session<'_>) -> Vec<Cell> {
    let calls = instance.calls.as_ref();
    vec![
        session.shown(&answer.namespace, &answer.service).into(),
        instance.instance_id.as_str().into(),
        instance.application.as_str().into(),
        breaker(instance.breaker_state()),
        health(instance.health_status()),
        sync(answer.revision, instance.applied_revision),
        instance.applied_revision.map_or_else(String::new, |revision| revision.revision.to_string()).into(),
        calls.map_or_else(String::new, |calls| rate(calls.calls_per_second)).into(),
        basis_points(calls.and_then(|calls| calls.attempt_error_bp)).into(),
        length(calls.and_then(|calls| std_duration(calls.call_latency.as_ref()?.p99))).into(),
        basis_points(fallbacks(calls)).into(),
        Cell::toned(age(std_duration(instance.connected_for)), Tone::Faint),
        Cell::toned(age(std_duration(instance.last_report_age)), Tone::Faint),
    ]
}

/// Whether the present revision, or a later one, is in force.
pub(in crate::commands) fn sync(current: Option<v1::Revision>, applied: Option<v1::Revision>) -> Cell {
    let position = |revision: v1::Revision| (revision.epoch, revision.revision);
    match (current.map(position), applied.map(position)) {
        (_, None) => Cell::toned("nothing applied", Tone::Warn),
        (Some(current), Some(applied)) if applied < current => Cell::toned("stale", Tone::Warn),
        _ => Cell::toned("synced", Tone::Good),
    }
}
