use super::super::session::{ALL_NAMESPACES, ServiceName, Session, lacks};
use super::services::{breaker, fallbacks, health};
use super::{Error, Listing, Window};
use crate::output::{Cell, Document, PrintError, Table, Tone, age, basis_points, length, rate, std_duration};
use cofferdam_proto::v1;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

const COLUMNS: &[&str] = &[
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

/// How many services are asked about at once.
const AT_ONCE: usize = 16;

/// Lists the instances of services.
pub(super) async fn list(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Listing, Error> {
    let answers = all(names, window, session).await?;
    listed(&answers, session, |_| true)
}

/// Lists the services of one instance.
pub(in crate::commands) async fn one(id: &str, session: &Session<'_>) -> Result<Listing, Error> {
    let answers = all(&[], Window(None), session).await?;
    listed(&answers, session, |instance| instance.instance_id == id)
}

fn listed(
    answers: &[Answer],
    session: &Session<'_>,
    is_wanted: impl Fn(&v1::InstanceStats) -> bool,
) -> Result<Listing, Error> {
    let mut listing =
        Listing { table: Table::new(COLUMNS), names: Vec::new(), documents: Vec::new(), notes: Vec::new() };
    for (service, revision, answer) in answers {
        for instance in answer.instances.iter().filter(|instance| is_wanted(instance)) {
            listing.table.push(row(service, *revision, instance));
            listing.names.push(instance.instance_id.clone());
        }
        listing.notes.extend(lacks(answer.stale_for, &answer.unreachable_managers));
        if session.format.is_document() {
            listing.documents.push(Document::of(answer).map_err(PrintError::from)?);
        }
    }
    listing.notes.sort();
    listing.notes.dedup();
    Ok(listing)
}

/// What the instances of services report, service by service. No names: every service that some instance uses.
pub(super) async fn all(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Vec<Answer>, Error> {
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

/// A service, its present revision, and what its instances report.
pub(super) type Answer = (String, Option<v1::Revision>, v1::GetIsolationStatsResponse);

async fn instances(
    (namespace, service): (String, String),
    window: Window,
    session: &Session<'_>,
) -> Result<Answer, Error> {
    let name = session.shown(&namespace, &service);
    let info = v1::GetServiceIsolationInfoRequest { namespace: namespace.clone(), service: service.clone() };
    let request = v1::GetIsolationStatsRequest {
        namespace,
        service,
        include_instances: true,
        window: window.to_wire(),
        ..Default::default()
    };
    let (info, stats) = tokio::try_join!(Box::pin(session.client.call(info)), Box::pin(session.client.stats(request)))?;
    Ok((name, info.service.and_then(|service| service.revision), stats))
}

fn row(service: &str, current: Option<v1::Revision>, instance: &v1::InstanceStats) -> Vec<Cell> {
    let calls = instance.calls.as_ref();
    vec![
        service.into(),
        instance.instance_id.as_str().into(),
        instance.application.as_str().into(),
        breaker(instance.breaker_state()),
        health(instance.health_status()),
        sync(current, instance.applied_revision),
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
