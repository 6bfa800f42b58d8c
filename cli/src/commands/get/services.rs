//! `cofferdam get services`.

mod row;

use self::row::{Figures, Shown, row, wide};
use super::super::ordered::{AUTO, is_auto};
use super::super::session::{ALL_NAMESPACES, ServiceName, Session, lacks};
use super::{Error, Listing, Window};
use crate::client::key_of;
use crate::message::short_name;
use crate::output::{Cell, Document, Format, Table, Tone, Yielding};
use cofferdam_proto::v1;
use std::collections::HashMap;

const COLUMNS: &[&str] = &["NAME", "LEVEL", "HEALTH", "STATE", "ERR%", "P99", "FALLBACK%", "CLIENTS", "SYNC", "REV"];

/// What gives way on a narrow terminal. The name, the state and who has the policy in force stay.
const YIELDING: &[Yielding] = &[
    ("CLIENTS", 0),
    ("FALLBACK%", 0),
    ("REV", 0),
    ("P99", 0),
    ("HEALTH", 0),
    ("SYNC", 8),
    ("STATE", 12),
    ("ERR%", 0),
    ("LEVEL", 0),
];

const WIDE: &[&str] = &["CALLS/S", "CALL-ERR%", "PRESET", "VERSION"];

/// What the tables show of a service, beside its figures.
const FIELDS: &[&str] = &[
    "service.namespace",
    "service.name",
    "service.version",
    "policy.level",
    "written_policy.level",
    "written_policy.preset",
    "revision",
    "breaker_state",
    "health",
    "holds",
    "temporary_level",
];

/// Lists services with the figures of a window.
pub(super) async fn list(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Listing, Error> {
    if session.format.is_document() {
        return documents(COLUMNS, names, session).await;
    }
    let found = if names.is_empty() { all(window, session).await? } else { some(names, window, session).await? };
    let is_wide = session.format == Format::Wide;
    let columns = if is_wide { [COLUMNS, WIDE].concat() } else { COLUMNS.to_vec() };
    let mut listing = Listing {
        table: Table::new(columns).yielding(YIELDING),
        names: Vec::new(),
        documents: Vec::new(),
        notes: found.notes,
    };
    for (name, shown) in found.services {
        let figures = found.figures.get(&name).cloned().unwrap_or_default();
        let mut cells = row(&name, &shown, &figures);
        if is_wide {
            cells.extend(wide(shown, &figures));
        }
        listing.table.push(cells);
        listing.names.push(name);
    }
    Ok(listing)
}

/// Lists services as they are, for programs.
pub(super) async fn documents(
    columns: &'static [&'static str],
    names: &[ServiceName],
    session: &Session<'_>,
) -> Result<Listing, Error> {
    let list = if names.is_empty() {
        session.client.services(&session.namespace, &[]).await?
    } else {
        let mut list = v1::ListIsolatedServicesResponse::default();
        for name in names {
            let info = session.info(name).await?;
            list.stale_for = list.stale_for.or(info.stale_for);
            list.containments.extend(info.service.as_ref().and_then(key_of).zip(info.containment));
            list.services.extend(info.service);
        }
        list
    };
    let notes = lacks(list.stale_for, &[]);
    Ok(Listing { table: Table::new(columns), names: Vec::new(), documents: vec![Document::Services(list)], notes })
}

/// Of the fields that a table shows those that this command's output does.
pub(super) fn shown_fields(of_table: &'static [&'static str], session: &Session<'_>) -> &'static [&'static str] {
    match session.format {
        Format::Name => &["service.namespace", "service.name"],
        _ => of_table,
    }
}

/// What a service goes by here.
pub(super) fn name_of(isolated: &v1::IsolatedService, session: &Session<'_>) -> String {
    let service = isolated.service.as_ref();
    service.map(|service| session.shown(&service.namespace, &service.name)).unwrap_or_default()
}

#[derive(Default)]
struct Found {
    /// In the order of their names, by what they go by here.
    services: Vec<(String, Shown)>,
    /// By the same.
    figures: HashMap<String, Figures>,
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
    let mut found = Found::default();
    let Found { services, figures, .. } = &mut found;
    let needs_figures = matches!(session.format, Format::Table | Format::Wide);
    let stats = async {
        if !needs_figures {
            return Ok(v1::GetIsolationStatsResponse::default());
        }
        let take = |stats: v1::ServiceStats| {
            figures.insert(session.shown(&stats.namespace, &stats.service), Figures::of(&stats));
        };
        session.client.each_stats(request, take).await
    };
    let take = |isolated: v1::IsolatedService, containment: Option<v1::Containment>| {
        services.push((name_of(&isolated, session), Shown::of(isolated, containment.as_ref())));
    };
    let list = session.client.each_service(&session.namespace, shown_fields(FIELDS, session), take);
    let (stale_for, stats) = tokio::try_join!(Box::pin(list), Box::pin(stats))?;
    found.notes = lacks(stale_for, &stats.unreachable_managers);
    Ok(found)
}

async fn some(names: &[ServiceName], window: Window, session: &Session<'_>) -> Result<Found, Error> {
    let mut found = Found::default();
    for name in names {
        let (namespace, service) = session.place(name);
        let request =
            v1::GetIsolationStatsRequest { namespace, service, window: window.to_wire(), ..Default::default() };
        let stats = async { Ok(session.client.stats(request).await?) };
        let (info, stats) = tokio::try_join!(Box::pin(session.info(name)), Box::pin(stats))?;
        found.notes.extend(lacks(info.stale_for, &stats.unreachable_managers));
        let figures = |stats: &v1::ServiceStats| (session.shown(&stats.namespace, &stats.service), Figures::of(stats));
        found.figures.extend(stats.services.iter().map(figures));
        found.services.extend(
            info.service.map(|isolated| (name_of(&isolated, session), Shown::of(isolated, info.containment.as_ref()))),
        );
    }
    found.notes.dedup();
    Ok(found)
}

/// A service's revision, and what is handed out in its place where its policy is contained: `12, 9 in force`.
pub(super) fn revision(of: Option<v1::Revision>, containment: Option<&v1::Containment>) -> Cell {
    let number = of.map_or_else(String::new, |revision| revision.revision.to_string());
    let Some(containment) = containment else { return number.into() };
    let in_place = containment.in_place.map_or_else(|| "none".to_owned(), |one| one.revision.to_string());
    Cell::toned(format!("{number}, {in_place} in force"), Tone::Bad)
}

/// A service's level. One with a star is in force for a time, one with `(auto)` follows from what the policy states.
pub(in crate::commands) fn level(isolated: &v1::IsolatedService) -> String {
    let level = isolated.policy.as_ref().map_or(v1::IsolationLevel::Unspecified, v1::IsolationPolicy::level);
    let mark = match isolated.temporary_level {
        Some(_) => "*",
        None if is_auto(isolated) => AUTO,
        None => "",
    };
    format!("{}{mark}", short_name(level.as_str_name(), "ISOLATION_LEVEL_"))
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

/// The share of the calls that a fallback answered.
pub(in crate::commands) fn fallbacks(calls: Option<&v1::CallStats>) -> Option<u32> {
    let served = calls?.served.as_ref()?;
    Some(served.cached_bp + served.static_bp + served.alternative_bp + served.degraded_bp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_says_what_is_in_the_place_of_a_contained_policy() {
        let at = |revision| Some(v1::Revision { epoch: 1, revision });
        let contained = v1::Containment { in_place: at(9), ..Default::default() };
        assert_eq!(revision(at(12), None).text(), "12");
        assert_eq!(revision(at(12), Some(&contained)).text(), "12, 9 in force");
        assert_eq!(revision(at(12), Some(&v1::Containment::default())).text(), "12, none in force");
    }
}
