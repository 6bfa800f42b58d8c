//! What is told of the calls: differences, so that a manager can add them up over all instances.
//!
//! A report is composed, sent, and committed once the transport has taken it. Until then nothing counts as told, and
//! the next report, on whichever stream, says it again as part of a larger difference. So nothing is ever told twice;
//! what a transport took and lost on its way is not told again.

use super::message::{Report, ServiceReport};
use crate::registry::{ServiceState, Shown, Told};
use cofferdam_core::breaker::{State, Transition};
use cofferdam_core::isolation::RejectedCall;
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::time::Timestamp;
use std::sync::Arc;

/// Services in one report; more of them wait for the next.
const MAX_SERVICES: usize = 1000;
/// Buckets of latencies in one report; services that come after wait for the next. With at most 12 bytes each, and a
/// hundred transitions of at most 300 bytes, no report reaches the transport's limit of 4 MiB unless hundreds of breakers
/// flap at once.
const MAX_BUCKETS: usize = 50_000;
/// The buckets that take as much room as a rejection.
const BUCKETS_OF_REJECTION: usize = 100;

/// What happened to the methods that an override is for, by its glob.
type Method = (Arc<str>, CounterSnapshot, CallLatencySnapshot);

/// Composes reports, over all the streams of a process.
#[derive(Debug)]
pub(super) struct Reporter {
    /// Streams so far. What the manager of one knows of states, that of another does not.
    streams: u64,
    /// Where the next report begins to look.
    next: usize,
    /// When the last report that was taken was composed.
    since: Timestamp,
    max_buckets: usize,
}

/// A report under way: what is told once it is taken.
#[derive(Debug)]
pub(super) struct Pending {
    at: Timestamp,
    entries: Vec<Entry>,
    next: usize,
}

#[derive(Debug)]
struct Entry {
    service: Arc<ServiceState>,
    told: Told,
    position: u64,
}

impl Reporter {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { streams: 0, next: 0, since: now, max_buckets: MAX_BUCKETS }
    }

    /// Takes note that another stream begins, whose manager knows no states.
    pub(super) fn begin_stream(&mut self) {
        self.streams += 1;
    }

    /// What has changed since the last report that was taken. `None`: nothing.
    pub(super) fn compose(
        &mut self,
        services: &[Arc<ServiceState>],
        now: Timestamp,
        sequence: u64,
    ) -> Option<(Report, Pending)> {
        let mut pending = Pending { at: now, entries: Vec::new(), next: self.next };
        let mut reports = Vec::new();
        let mut buckets = 0;
        for step in 0..services.len() {
            if reports.len() == MAX_SERVICES || buckets >= self.max_buckets {
                break;
            }
            let index = (self.next + step) % services.len();
            let Some(service) = services.get(index) else { continue };
            pending.next = (index + 1) % services.len();
            if let Some((report, entry)) = changes(service, self.streams, now) {
                buckets += size(&report);
                reports.push(report);
                pending.entries.push(entry);
            }
        }
        let interval = now.saturating_since(self.since);
        (!reports.is_empty()).then_some((Report { sequence, interval, services: reports }, pending))
    }

    /// Takes note that a report was taken.
    pub(super) fn commit(&mut self, pending: Pending) {
        self.since = pending.at;
        self.next = pending.next;
        for entry in pending.entries {
            entry.service.journal.commit(entry.position);
            entry.service.tell(entry.told);
        }
    }
}

fn changes(service: &Arc<ServiceState>, stream: u64, now: Timestamp) -> Option<(ServiceReport, Entry)> {
    let told = service.told();
    let counters = service.isolation.counters();
    let difference = counters.since(&told.counters);
    let state = shown(service, now);
    let unreported = service.journal.unreported();
    let is_same = difference == CounterSnapshot::default() && told.is_shown(stream, &state) && unreported.is_empty();
    if is_same {
        return None;
    }
    // After the counters: what they tell of calls that have ended is in it.
    let latencies = service.isolation.latencies();
    let methods = service.isolation.methods();
    let (rejections, last_rejection) = service.isolation.rejections_after(told.rejections);
    let since = |call: RejectedCall| {
        let age = now.saturating_since(call.at);
        (call, age)
    };
    let aged = |(part, made): (_, Transition)| (part, made, now.saturating_since(made.at));
    let report = ServiceReport {
        service: Arc::clone(&service.name),
        counters: difference,
        latencies: latencies.since(&told.latencies),
        methods: methods.iter().filter_map(|method| since_told(method, &told.methods)).collect(),
        breaker: state.breaker,
        parts: state.parts.clone(),
        health: state.health,
        adaptive_limit: state.adaptive_limit,
        learned: state.learned,
        held: state.held,
        transitions: unreported.transitions.into_iter().map(aged).collect(),
        dropped: unreported.dropped,
        rejections: rejections.into_iter().map(since).collect(),
    };
    let told = Told { counters, latencies, methods, rejections: last_rejection, state: Some((stream, state)) };
    Some((report, Entry { service: Arc::clone(service), told, position: unreported.position }))
}

/// The buckets that a report of a service has, or has room for instead of what it has.
fn size(report: &ServiceReport) -> usize {
    let of = |latencies: &CallLatencySnapshot| latencies.calls.iter().count() + latencies.attempts.iter().count();
    let rejections = report.rejections.len() * BUCKETS_OF_REJECTION;
    rejections + of(&report.latencies) + report.methods.iter().map(|(_, _, latencies)| of(latencies)).sum::<usize>()
}

/// What happened to methods since it was told. `None`: nothing.
fn since_told((glob, counters, latencies): &Method, told: &[Method]) -> Option<Method> {
    // An override that went and came back since has begun anew, which shows while it counts less.
    let told = told.iter().find(|(known, told, _)| known == glob && told.calls <= counters.calls);
    let (counters, latencies) = match told {
        Some((_, told, timed)) => (counters.since(told), latencies.since(timed)),
        None => (*counters, latencies.clone()),
    };
    (!counters.is_zero()).then(|| (Arc::clone(glob), counters, latencies))
}

fn shown(service: &ServiceState, now: Timestamp) -> Shown {
    let mut parts = service.isolation.breaker_states(now);
    // A worse state is greater.
    let breaker = parts.iter().map(|(_, state)| *state).max();
    parts.retain(|(_, state)| *state != State::Closed);
    let (health, adaptive_limit) = (service.isolation.health(now), service.isolation.adaptive_limit());
    let (learned, held) = (service.isolation.learned_state(now), service.isolation.held_breakers(now));
    Shown { breaker, parts, health, adaptive_limit, learned, held }
}

#[cfg(test)]
mod tests;
