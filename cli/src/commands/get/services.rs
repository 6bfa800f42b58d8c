use super::super::ordered;
use super::super::session::{ALL_NAMESPACES, ServiceName, Session, lacks};
use super::{Error, Listing, Window};
use crate::message::short_name;
use crate::output::{Cell, Document, Format, Table, Tone, basis_points, length, rate, std_duration};
use cofferdam_proto::v1;
use std::collections::HashMap;

const COLUMNS: &[&str] = &["NAME", "LEVEL", "HEALTH", "STATE", "ERR%", "P99", "FALLBACK%", "CLIENTS", "SYNC", "REV"];

const WIDE: &[&str] = &["CALLS/S", "CALL-ERR%", "PRESET", "VERSION"];

/// What the tables show of a service, beside its figures.
const FIELDS: &[&str] = &[
    "service.namespace",
    "service.name",
    "service.version",
    "policy.level",
    "written_policy.preset",
    "revision",
    "breaker_state",
    "health",
    "holds",
    "temporary_level",
];

/// Lists services with the figures of a window.
pub(super) async fn list(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Listing, Error> {
    let found = if names.is_empty() { all(window, session).await? } else { some(names, window, session).await? };
    let is_wide = session.format == Format::Wide;
    let columns = if is_wide { [COLUMNS, WIDE].concat() } else { COLUMNS.to_vec() };
    let mut listing =
        Listing { table: Table::new(columns), names: Vec::new(), documents: Vec::new(), notes: found.notes };
    for isolated in &found.list.services {
        let service = isolated.service.clone().unwrap_or_default();
        let name = session.shown(&service.namespace, &service.name);
        let stats = found.stats.get(&(service.namespace.clone(), service.name.clone()));
        let mut cells = row(&name, isolated, stats);
        if is_wide {
            cells.extend(wide(isolated, stats));
        }
        listing.table.push(cells);
        listing.names.push(name);
    }
    if session.format.is_document() {
        listing.documents.push(Document::Services(found.list));
    }
    Ok(listing)
}

/// Of the fields that a table shows those that this command's output does. Empty: all of a service.
pub(super) fn shown_fields(of_table: &'static [&'static str], session: &Session<'_>) -> &'static [&'static str] {
    match session.format {
        Format::Table | Format::Wide => of_table,
        Format::Name => &["service.namespace", "service.name"],
        Format::Json | Format::Yaml => &[],
    }
}

struct Found {
    list: v1::ListIsolatedServicesResponse,
    stats: HashMap<(String, String), v1::ServiceStats>,
    notes: Vec<String>,
}

async fn all(window: Window, session: &Session<'_>) -> Result<Found, Error> {
    let namespace = if session.namespace == ALL_NAMESPACES { String::new() } else { session.namespace.clone() };
    let request = v1::GetIsolationStatsRequest {
        namespace,
        include_services: true,
        window: window.to_wire(),
        ..Default::default()
    };
    let needs_figures = matches!(session.format, Format::Table | Format::Wide);
    let stats = async {
        if needs_figures { session.client.stats(request).await } else { Ok(v1::GetIsolationStatsResponse::default()) }
    };
    let list = Box::pin(session.client.services(&session.namespace, shown_fields(FIELDS, session)));
    let (list, stats) = tokio::try_join!(list, Box::pin(stats))?;
    let notes = lacks(list.stale_for, &stats.unreachable_managers);
    Ok(Found { list, stats: by_name(stats.services), notes })
}

async fn some(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Found, Error> {
    let mut found = Found { list: Default::default(), stats: HashMap::new(), notes: Vec::new() };
    for name in names {
        let (namespace, service) = session.place(name);
        let request =
            v1::GetIsolationStatsRequest { namespace, service, window: window.to_wire(), ..Default::default() };
        let stats = async { Ok(session.client.stats(request).await?) };
        let (info, stats) = tokio::try_join!(Box::pin(session.info(name)), Box::pin(stats))?;
        found.notes.extend(lacks(info.stale_for, &stats.unreachable_managers));
        found.list.services.extend(info.service);
        found.stats.extend(by_name(stats.services));
    }
    found.notes.dedup();
    Ok(found)
}

fn by_name(services: Vec<v1::ServiceStats>) -> HashMap<(String, String), v1::ServiceStats> {
    services.into_iter().map(|stats| ((stats.namespace.clone(), stats.service.clone()), stats)).collect()
}

fn row(name: &str, isolated: &v1::IsolatedService, stats: Option<&v1::ServiceStats>) -> Vec<Cell> {
    let none = v1::ServiceStats::default();
    let stats = stats.unwrap_or(&none);
    let calls = stats.calls.as_ref();
    vec![
        name.into(),
        level(isolated).into(),
        health(isolated.health.as_ref().map_or(v1::HealthStatus::Unspecified, v1::ServiceHealth::status)),
        held(state(isolated.breaker_state(), stats), isolated),
        basis_points(calls.and_then(|calls| calls.attempt_error_bp)).into(),
        length(calls.and_then(|calls| std_duration(calls.call_latency.as_ref()?.p99))).into(),
        basis_points(fallbacks(calls)).into(),
        stats.instances.to_string().into(),
        sync(stats),
        isolated.revision.map_or_else(String::new, |revision| revision.revision.to_string()).into(),
    ]
}

fn wide(isolated: &v1::IsolatedService, stats: Option<&v1::ServiceStats>) -> [Cell; 4] {
    let calls = stats.and_then(|stats| stats.calls.as_ref());
    let text = |text: Option<&String>| Cell::from(text.cloned().unwrap_or_default());
    [
        calls.map_or_else(String::new, |calls| rate(calls.calls_per_second)).into(),
        basis_points(calls.and_then(|calls| calls.error_bp)).into(),
        text(isolated.written_policy.as_ref().map(|policy| &policy.preset)),
        text(isolated.service.as_ref().map(|service| &service.version)),
    ]
}

/// A service's level. One with a star is in force for a time.
pub(in crate::commands) fn level(isolated: &v1::IsolatedService) -> String {
    let level = isolated.policy.as_ref().map_or(v1::IsolationLevel::Unspecified, v1::IsolationPolicy::level);
    let star = if isolated.temporary_level.is_some() { "*" } else { "" };
    format!("{}{star}", short_name(level.as_str_name(), "ISOLATION_LEVEL_"))
}

/// A health status, in its tone. Empty: nothing is known.
pub(in crate::commands) fn health(status: v1::HealthStatus) -> Cell {
    let tone = match status {
        v1::HealthStatus::Unspecified => return Cell::default(),
        v1::HealthStatus::Healthy => Tone::Good,
        v1::HealthStatus::Degraded => Tone::Warn,
        v1::HealthStatus::Unhealthy | v1::HealthStatus::CircuitOpen => Tone::Bad,
    };
    Cell::toned(short_name(status.as_str_name(), "HEALTH_STATUS_"), tone)
}

/// A breaker's state, in its tone. Empty: none is in force.
pub(in crate::commands) fn breaker(state: v1::BreakerState) -> Cell {
    let tone = match state {
        v1::BreakerState::Unspecified => return Cell::default(),
        v1::BreakerState::Closed => Tone::Good,
        v1::BreakerState::HalfOpen => Tone::Warn,
        v1::BreakerState::Open => Tone::Bad,
    };
    Cell::toned(short_name(state.as_str_name(), "BREAKER_STATE_"), tone)
}

/// The least good state, and at how many instances a breaker is not closed.
fn state(state: v1::BreakerState, stats: &v1::ServiceStats) -> Cell {
    let name = short_name(state.as_str_name(), "BREAKER_STATE_");
    match state {
        // It is that of a manager, which calls services for those who ask it to.
        state if stats.open_instances == 0 => breaker(state),
        v1::BreakerState::Open => {
            Cell::toned(format!("{name} {}/{}", stats.open_instances, stats.instances), Tone::Bad)
        }
        v1::BreakerState::HalfOpen => {
            Cell::toned(format!("{name} {}/{}", stats.open_instances, stats.instances), Tone::Warn)
        }
        state => breaker(state),
    }
}

/// A state with what operators hold breakers in: `open 3/4, held open`.
fn held(state: Cell, isolated: &v1::IsolatedService) -> Cell {
    let Some(hold) = isolated.holds.iter().find(|hold| ordered::rejects(hold)).or_else(|| isolated.holds.first())
    else {
        return state;
    };
    let tone = if ordered::rejects(hold) { Tone::Bad } else { Tone::Warn };
    let forced = short_name(hold.forced().as_str_name(), "FORCED_STATE_");
    let partly = if ordered::is_whole(hold) { "" } else { "partly " };
    let before = if state.text().is_empty() { String::new() } else { format!("{}, ", state.text()) };
    Cell::toned(format!("{before}{partly}held {forced}"), tone)
}

fn sync(stats: &v1::ServiceStats) -> Cell {
    let (applied, instances, refused) = (stats.applied_instances, stats.instances, stats.refused_instances);
    match (instances, refused) {
        (0, _) => Cell::default(),
        (_, 0) if applied >= instances => Cell::toned(format!("{applied}/{instances}"), Tone::Good),
        (_, 0) => Cell::toned(format!("{applied}/{instances}"), Tone::Warn),
        _ => Cell::toned(format!("{applied}/{instances} refused {refused}"), Tone::Bad),
    }
}

/// The share of the calls that a fallback answered.
pub(in crate::commands) fn fallbacks(calls: Option<&v1::CallStats>) -> Option<u32> {
    let served = calls?.served.as_ref()?;
    Some(served.cached_bp + served.static_bp + served.alternative_bp + served.degraded_bp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    fn printed(rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new(COLUMNS);
        rows.into_iter().for_each(|row| table.push(row));
        let mut out = Vec::new();
        table.print(&mut out, Style::new(false, false)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_service_is_a_line_that_says_how_it_does() {
        let isolated = v1::IsolatedService {
            policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Enhanced.into(), ..Default::default() }),
            health: Some(v1::ServiceHealth { status: v1::HealthStatus::CircuitOpen.into(), ..Default::default() }),
            breaker_state: v1::BreakerState::Open.into(),
            revision: Some(v1::Revision { epoch: 1, revision: 19 }),
            ..Default::default()
        };
        let served = v1::ServedShares { live_bp: 1_200, cached_bp: 3_000, static_bp: 5_800, ..Default::default() };
        let p99 = prost_types::Duration { seconds: 2, nanos: 100_000_000 };
        let stats = v1::ServiceStats {
            instances: 4,
            open_instances: 3,
            applied_instances: 4,
            calls: Some(v1::CallStats {
                attempt_error_bp: Some(6_120),
                served: Some(served),
                call_latency: Some(v1::LatencyStats { count: 9, p99: Some(p99), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let hold = v1::Hold { forced: v1::ForcedState::Open.into(), ..Default::default() };
        let part = v1::BreakerTarget { pool: "reads".into(), ..Default::default() };
        let part = v1::Hold { target: Some(part), forced: v1::ForcedState::Closed.into(), ..Default::default() };
        let none = v1::IsolatedService { breaker_state: 0, ..isolated.clone() };
        assert_eq!(held(state(none.breaker_state(), &stats), &none), Cell::default());
        let (whole, part) = (
            v1::IsolatedService { holds: vec![part.clone(), hold], ..none },
            v1::IsolatedService { holds: vec![part], ..isolated.clone() },
        );
        assert_eq!(held(state(whole.breaker_state(), &stats), &whole).text(), "held open");
        assert_eq!(held(state(part.breaker_state(), &stats), &part).text(), "open 3/4, partly held closed");
        let trial = v1::IsolatedService { temporary_level: Some(v1::TemporaryLevel::default()), ..isolated.clone() };
        assert_eq!(level(&trial), "enhanced*");
        let refused = v1::ServiceStats { refused_instances: 1, applied_instances: 3, ..stats.clone() };
        let idle = v1::IsolatedService { breaker_state: 0, health: None, ..isolated.clone() };
        assert_eq!(
            printed(vec![
                row("stripe", &isolated, Some(&stats)),
                row("s3", &isolated, Some(&refused)),
                row("idle", &idle, None)
            ]),
            "\
NAME     LEVEL      HEALTH         STATE      ERR%   P99    FALLBACK%   CLIENTS   SYNC            REV
stripe   enhanced   circuit-open   open 3/4   61.2   2.1s   88.0        4         4/4             19
s3       enhanced   circuit-open   open 3/4   61.2   2.1s   88.0        4         3/4 refused 1   19
idle     enhanced   -              -          -      -      -           0         -               19
"
        );
    }
}
