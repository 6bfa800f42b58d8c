//! What there is to show of services.

use std::{collections::HashSet, fmt};

use cofferdam_core::{breaker::State, health::HealthStatus, level::Level, stats::CounterSnapshot, time::WallTime};

use super::{
    buckets,
    catalogue::{self as all, Family},
    page::{Page, Samples},
};
use crate::{
    health,
    instances::{Exposure, Standing, Target},
    peers::Local,
    registry::Registered,
};

/// The rows of services that have none of their own. No service can have such a name.
const OTHER: &str = "(other)";

/// The rows of names that nobody registered.
const UNREGISTERED: &str = "(unregistered)";

const NAMESPACE: &str = "namespace";
const SERVICE: &str = "service";

const STATES: [(State, &str); 3] = [(State::Closed, "closed"), (State::HalfOpen, "half_open"), (State::Open, "open")];

const HEALTH: [(Option<HealthStatus>, &str); 5] = [
    (Some(HealthStatus::Healthy), "healthy"),
    (Some(HealthStatus::Degraded), "degraded"),
    (Some(HealthStatus::Unhealthy), "unhealthy"),
    (Some(HealthStatus::CircuitOpen), "circuit_open"),
    (None, "unknown"),
];

const LEVELS: [(Level, &str); 4] =
    [(Level::None, "none"), (Level::Basic, "basic"), (Level::Enhanced, "enhanced"), (Level::Full, "full")];

/// One service, or several that are added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    namespace: String,
    service: String,
    seen: Exposure,
    /// What is known of registered services.
    registered: Option<Known>,
}

/// What the manager knows of a service beside what its instances say. Each number is one of services, so they add up.
#[derive(Clone, Debug, Default)]
struct Known {
    states: [u64; STATES.len()],
    health: [u64; HEALTH.len()],
    levels: [u64; LEVELS.len()],
    enabled: u64,
    contained: u64,
    hinted: u64,
    holds: u64,
    holds_too_long: u64,
    /// Absent where several are added up.
    revision: Option<u64>,
}

/// One of the counters.
type Count = fn(&CounterSnapshot) -> u64;

/// What is to be shown: the first `max` services one by one, and the others together. How many there are, and how many
/// those are.
pub(super) fn collect(local: &Local, max: usize) -> (Vec<Service>, (usize, usize)) {
    let registered = local.registry.services(None);
    let now = local.registry.wall_time();
    let mut rows = Vec::with_capacity(registered.len().min(max).saturating_add(2));
    let mut other: Option<Service> = None;
    for (index, registered) in registered.iter().enumerate() {
        let row = Service::of(local, registered, now);
        match &mut other {
            _ if index < max => rows.push(row),
            Some(other) => other.merge(&row),
            None => other = Some(row.named(OTHER)),
        }
    }
    rows.extend(other);
    let keys: HashSet<_> = registered.iter().map(|registered| registered.key()).collect();
    let seen = local.instances.exposure_beyond(|key| keys.contains(key));
    if seen != Exposure::default() {
        rows.push(Service { seen, ..Service::default() }.named(UNREGISTERED));
    }
    (rows, (registered.len(), registered.len().saturating_sub(max)))
}

/// Writes all that there is to say of services.
pub(super) fn write(services: &[Service], page: &mut Page<'_>) -> fmt::Result {
    let calls = |row: &Service| {
        let calls = row.counters();
        [
            ("ok", calls.served_live),
            ("fallback", fallbacks(&calls).iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))),
            ("error", calls.failed),
            ("cancelled", calls.cancelled),
        ]
    };
    counters(page, &all::CALLS, services, calls)?;
    counters(page, &all::FALLBACKS, services, |row| fallbacks(&row.counters()))?;
    counters(page, &all::REJECTIONS, services, |row| rejections(&row.counters()))?;
    counters(page, &all::ATTEMPTS, services, |row| {
        let calls = row.counters();
        [("success", calls.attempt_successes), ("failure", calls.attempt_failures), ("neutral", calls.attempt_neutrals)]
    })?;
    let single: [(&Family, Count); 7] = [
        (&all::ATTEMPT_TIMEOUTS, |calls| calls.timeouts),
        (&all::RETRIES, |calls| calls.retries),
        (&all::RETRIES_REFUSED, |calls| calls.retries_refused),
        (&all::HEDGES, |calls| calls.hedges),
        (&all::HEDGE_WINS, |calls| calls.hedge_wins),
        (&all::HEDGES_REFUSED, |calls| calls.hedges_refused),
        (&all::STALE_RESULTS, |calls| calls.stale_results),
    ];
    for (family, count) in single {
        each(page, family, services, |row, samples| samples.count(&row.labels(), count(&row.counters())))?;
    }
    each(page, &all::CALL_DURATION, services, |row, samples| {
        let times = &row.seen.activity.latencies.calls;
        if times.is_empty() { Ok(()) } else { samples.times(&row.labels(), times) }
    })?;
    each(page, &all::ATTEMPT_DURATION, services, |row, samples| {
        let times = &row.seen.activity.latencies.attempts;
        if times.is_empty() { Ok(()) } else { samples.times(&row.labels(), times) }
    })?;
    breakers(services, page)?;
    policies(services, page)
}

fn breakers(services: &[Service], page: &mut Page<'_>) -> fmt::Result {
    one_hot(page, &all::BREAKER_STATE, services, "state", |known| {
        STATES.map(|(_, name)| name).into_iter().zip(known.states).collect()
    })?;
    of_known(page, &all::BREAKER_OPEN, services, |known| known.states[2])?;
    each_known(page, &all::BREAKER_INSTANCES, services, |row, _, samples| {
        for (state, name) in STATES {
            let known = row.seen.breakers.iter().find(|(known, _)| *known == state);
            samples.value(&row.labels_and("state", name), known.map_or(0, |(_, count)| u64::from(*count)))?;
        }
        Ok(())
    })?;
    each(page, &all::BREAKER_OPENINGS, services, |row, samples| {
        samples.count(&row.labels(), row.counters().breaker_opened)
    })?;
    each(page, &all::BREAKER_TRANSITIONS, services, |row, samples| {
        for (from, to, count) in row.seen.transitions.iter() {
            let [namespace, service] = row.labels();
            samples.count(&[namespace, service, ("from", name_of(from)), ("to", name_of(to))], count)?;
        }
        Ok(())
    })?;
    each(page, &all::BREAKER_RECOVERY, services, |row, samples| {
        let recoveries = &row.seen.recoveries;
        if recoveries.count == 0 {
            return Ok(());
        }
        let buckets = buckets::recoveries(&recoveries.scaled);
        samples.histogram(&row.labels(), recoveries.sum.as_secs_f64(), recoveries.count, &buckets)
    })?;
    each_known(page, &all::BREAKER_HELD, services, |row, _, samples| {
        samples.value(&row.labels(), row.seen.held.into())
    })?;
    of_known(page, &all::HOLDS, services, |known| known.holds)?;
    of_known(page, &all::HOLDS_TOO_LONG, services, |known| known.holds_too_long)
}

fn policies(services: &[Service], page: &mut Page<'_>) -> fmt::Result {
    one_hot(page, &all::HEALTH_STATUS, services, "status", |known| {
        HEALTH.map(|(_, name)| name).into_iter().zip(known.health).collect()
    })?;
    of_known(page, &all::SERVICE_ENABLED, services, |known| known.enabled)?;
    one_hot(page, &all::ISOLATION_LEVEL, services, "level", |known| {
        LEVELS.map(|(_, name)| name).into_iter().zip(known.levels).collect()
    })?;
    each_known(page, &all::POLICY_REVISION, services, |row, known, samples| {
        known.revision.map_or(Ok(()), |revision| samples.value(&row.labels(), revision))
    })?;
    of_known(page, &all::POLICY_CONTAINED, services, |known| known.contained)?;
    each_known(page, &all::POLICY_INSTANCES, services, |row, _, samples| {
        let Standing { applied, pending, refused, silent, put_back } = row.seen.standing;
        let states = [
            ("applied", applied),
            ("pending", pending),
            ("refused", refused.saturating_sub(put_back)),
            ("put_back", put_back),
            ("silent", silent),
        ];
        for (name, count) in states {
            samples.value(&row.labels_and("state", name), count.into())?;
        }
        Ok(())
    })?;
    each_known(page, &all::POLICY_LAG, services, |row, _, samples| samples.seconds(&row.labels(), row.seen.lag))?;
    of_known(page, &all::FLEET_HINT, services, |known| known.hinted)?;
    each_known(page, &all::ADAPTIVE_LIMIT, services, |row, _, samples| {
        samples.value(&row.labels(), row.seen.adaptive_limit.limit.into())
    })?;
    each_known(page, &all::ADAPTIVE_IN_FLIGHT, services, |row, _, samples| {
        samples.value(&row.labels(), row.seen.adaptive_limit.in_flight.into())
    })
}

impl Service {
    fn of(local: &Local, registered: &Registered, now: WallTime) -> Self {
        let (key, revision) = (registered.key(), registered.revision());
        let is_contained = registered.containment().is_some();
        let mut seen = local.instances.exposure(&Target {
            key: key.clone(),
            revision,
            current: revision,
            hash: registered.policy_hash(),
            since: registered.since(),
            is_contained,
            in_place: None,
        });
        seen.activity.merge(&local.executor.activity(key));
        let health = health::status(&local.registry, &local.instances, key);
        let level = registered.level_at(now);
        let known = Known {
            states: STATES.map(|(state, _)| (seen.condition.breaker == Some(state)).into()),
            health: HEALTH.map(|(status, _)| (health == status).into()),
            levels: LEVELS.map(|(one, _)| (level == one).into()),
            enabled: registered.is_enabled().into(),
            contained: is_contained.into(),
            hinted: local.registry.hint(key).is_some().into(),
            holds: registered.orders().holds_in_force(now).count() as u64,
            holds_too_long: registered.held_too_long(now) as u64,
            revision: Some(revision.revision),
        };
        Self { namespace: key.namespace.to_string(), service: key.name.to_string(), seen, registered: Some(known) }
    }

    /// The same under the name of several.
    fn named(mut self, name: &str) -> Self {
        (self.namespace, self.service) = (name.to_owned(), name.to_owned());
        if let Some(known) = &mut self.registered {
            known.revision = None;
        }
        self
    }

    fn merge(&mut self, other: &Self) {
        self.seen.merge(&other.seen);
        if let (Some(sum), Some(known)) = (&mut self.registered, &other.registered) {
            sum.merge(known);
        }
    }

    fn counters(&self) -> CounterSnapshot {
        self.seen.activity.counters
    }

    fn labels(&self) -> [(&'static str, &str); 2] {
        [(NAMESPACE, &self.namespace), (SERVICE, &self.service)]
    }

    fn labels_and<'a>(&'a self, label: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
        [(NAMESPACE, &self.namespace), (SERVICE, &self.service), (label, value)]
    }
}

impl Known {
    fn merge(&mut self, other: &Self) {
        let Self { states, health, levels, enabled, contained, hinted, holds, holds_too_long, revision: _ } = other;
        let add = |sum: &mut [u64], more: &[u64]| sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.states, states);
        add(&mut self.health, health);
        add(&mut self.levels, levels);
        self.enabled += enabled;
        self.contained += contained;
        self.hinted += hinted;
        self.holds += holds;
        self.holds_too_long += holds_too_long;
    }
}

fn name_of(state: State) -> &'static str {
    STATES.into_iter().find(|(one, _)| *one == state).map_or("", |(_, name)| name)
}

fn fallbacks(calls: &CounterSnapshot) -> [(&'static str, u64); 4] {
    [
        ("cached", calls.served_cached),
        ("static", calls.served_static),
        ("alternative", calls.served_alternative),
        ("degraded", calls.served_degraded),
    ]
}

fn rejections(calls: &CounterSnapshot) -> [(&'static str, u64); 6] {
    [
        ("open", calls.rejected_open),
        ("bulkhead", calls.rejected_bulkhead),
        ("rate_limit", calls.rejected_rate_limit),
        ("adaptive_limit", calls.rejected_adaptive_limit),
        ("deadline", calls.rejected_deadline),
        ("disabled", calls.rejected_disabled),
    ]
}

/// A family with what each service has to say.
fn each(
    page: &mut Page<'_>,
    family: &Family,
    services: &[Service],
    write: impl Fn(&Service, &mut Samples<'_>) -> fmt::Result,
) -> fmt::Result {
    page.family(family, |samples| services.iter().try_for_each(|row| write(row, samples)))
}

/// The same of services that are registered.
fn each_known(
    page: &mut Page<'_>,
    family: &Family,
    services: &[Service],
    write: impl Fn(&Service, &Known, &mut Samples<'_>) -> fmt::Result,
) -> fmt::Result {
    each(page, family, services, |row, samples| {
        row.registered.as_ref().map_or(Ok(()), |known| write(row, known, samples))
    })
}

/// A gauge of what is known.
fn of_known(page: &mut Page<'_>, family: &Family, services: &[Service], value: impl Fn(&Known) -> u64) -> fmt::Result {
    each_known(page, family, services, |row, known, samples| samples.value(&row.labels(), value(known)))
}

/// A gauge for each of the values that a label can have.
fn one_hot(
    page: &mut Page<'_>,
    family: &Family,
    services: &[Service],
    label: &'static str,
    values: impl Fn(&Known) -> Vec<(&'static str, u64)>,
) -> fmt::Result {
    each_known(page, family, services, |row, known, samples| {
        values(known).into_iter().try_for_each(|(name, value)| samples.value(&row.labels_and(label, name), value))
    })
}

/// A counter for each of the values that its last label can have.
fn counters<const N: usize>(
    page: &mut Page<'_>,
    family: &Family,
    services: &[Service],
    counts: impl Fn(&Service) -> [(&'static str, u64); N],
) -> fmt::Result {
    let label = family.labels.last().copied().unwrap_or_default();
    each(page, family, services, |row, samples| {
        counts(row).into_iter().try_for_each(|(name, count)| samples.count(&row.labels_and(label, name), count))
    })
}
