//! What an instance says after its hello.

use std::time::Duration;

use cofferdam_core::{
    adaptive_limit::Load,
    breaker::State,
    health::HealthStatus,
    isolation::Part,
    latency::{CallLatencySnapshot, SparseLatency},
    name::{Name, ServiceKey},
    revision::Revision,
    wire::{
        PolicyHash, breaker_state_from_wire, counters_from_wire, duration_from_wire, health_from_wire,
        latency_from_wire, part_is, revision_from_wire,
    },
};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{
    LOG, Shared,
    containing::Suspicion,
    hello::{self, MAX_SERVICES},
    plausible,
    rejections::rejections,
};
use crate::{
    activity::Activity,
    error::Error,
    events::News,
    instances::{Condition, Losses, Refusal, Report, Session as Place, Transition},
    registry::{Registered, Registry, validate::Faults},
    words::{printed, shortened},
};

const MAX_REASON_BYTES: usize = 1024;
/// Transitions of one report that are looked at.
const MAX_TRANSITIONS: usize = 100;
/// How long ago a transition may have been: an instance may not have reached any manager for a week.
const OLDEST_TRANSITION: Duration = Duration::from_secs(7 * 24 * 3600);
const MAX_PATH_BYTES: usize = 256;

/// What an instance wants to follow, and what no more. Each service stands in each once.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) services: Vec<ServiceKey>,
    pub(super) unfollow: Vec<ServiceKey>,
}

/// Reads what an instance wants to follow, and what no more.
pub(super) fn subscribe(namespace: &Name, message: &v1::SyncSubscribe) -> Result<Subscribe, Error> {
    let v1::SyncSubscribe { services, unfollow } = message;
    let mut faults = Faults::default();
    faults.count("subscribe.services", services.len(), MAX_SERVICES);
    faults.count("subscribe.unfollow", unfollow.len(), MAX_SERVICES);
    faults.check()?;
    let services = hello::names(&mut faults, "subscribe.services", namespace, services);
    let unfollow = hello::names(&mut faults, "subscribe.unfollow", namespace, unfollow);
    faults.into_result()?;
    Ok(Subscribe { services, unfollow })
}

/// A policy is in force.
pub(super) fn ack(namespace: &Name, place: &Place, registry: &Registry, ack: &v1::PolicyAck) -> Result<(), Error> {
    let mut faults = Faults::default();
    let name = faults.name("ack.service", Name::new(&ack.service));
    let position = hello::position(&mut faults, "ack", ack.revision, &ack.policy_hash);
    faults.check()?;
    if let (Some(name), Some((revision, hash))) = (name, position) {
        let key = ServiceKey { namespace: namespace.clone(), name };
        handed_out(faults, "ack.revision", registry, &key, revision)?;
        let since = registry.heard_of(&key, revision);
        place.acknowledged(&key, (revision, hash), since);
        let (ServiceKey { namespace, name }, Revision { epoch, revision }) = (&key, revision);
        let instance = place.instance_id();
        tracing::debug!(target: LOG, %namespace, service = %name, instance, epoch, revision, "policy in force");
    }
    Ok(())
}

/// A policy is refused.
pub(super) fn nack(namespace: &Name, place: &Place, shared: &Shared, nack: &v1::PolicyNack) -> Result<(), Error> {
    let mut faults = Faults::default();
    let name = faults.name("nack.service", Name::new(&nack.service));
    faults.require(nack.revision.is_some(), "nack.revision", "must be set");
    // A release that tells no fingerprint leaves it empty.
    let hash =
        Some(&nack.applied_policy_hash[..]).filter(|hash| !hash.is_empty()).map(PolicyHash::try_from).transpose();
    let hash = hash.unwrap_or_else(|invalid| {
        faults.add("nack.applied_policy_hash", invalid.to_string());
        None
    });
    faults.check()?;
    if let (Some(name), Some(revision)) = (name, nack.revision) {
        let key = ServiceKey { namespace: namespace.clone(), name };
        handed_out(faults, "nack.revision", &shared.registry, &key, revision_from_wire(revision))?;
        let refusal = Refusal {
            revision: revision_from_wire(revision),
            reason: shortened(printed(&nack.reason), MAX_REASON_BYTES),
            field_path: shortened(printed(&nack.field_path), MAX_PATH_BYTES),
            since: Instant::now(),
            is_contained: nack.contained,
        };
        let stays = nack.applied_revision.map(revision_from_wire);
        warn_of(&key, &refusal, stays.unwrap_or_default(), place.instance_id());
        if shared.registry.get(&key).is_some() {
            place.events().tell(News::refusal(&key, place.instance_id(), &refusal, stays));
        }
        let Refusal { revision, reason, .. } = refusal.clone();
        let put_back = place.refused(&key, refusal, stays.zip(hash));
        shared.judge(key, Suspicion { revision, reason }, put_back);
    }
    Ok(())
}

/// What answers an update has the update's revision, and not one that is still to come.
fn handed_out(
    mut faults: Faults,
    path: &str,
    registry: &Registry,
    key: &ServiceKey,
    revision: Revision,
) -> Result<(), Error> {
    if let Some(latest) = registry.surpassed(key, revision) {
        faults.add(path, format!("{revision} of {} was never sent: the latest is {latest}", key.name));
    }
    faults.into_result()
}

/// What happened to the services of an instance since its last report.
pub(super) fn report(
    namespace: &Name,
    place: &Place,
    registry: &Registry,
    report: &v1::SyncReport,
) -> Result<(), Error> {
    let mut faults = Faults::default();
    faults.count("report.services", report.services.len(), MAX_SERVICES);
    plausible::check(&mut faults, report);
    faults.check()?;
    for (index, service) in report.services.iter().enumerate() {
        let Some(name) = faults.name(&format!("report.services[{index}].service"), Name::new(&service.service)) else {
            continue;
        };
        let key = ServiceKey { namespace: namespace.clone(), name };
        // A state that a later release may know is, here, nothing known.
        let condition = Condition {
            breaker: breaker_state_from_wire(service.breaker_state).ok().flatten(),
            health: health_from_wire(service.health_status).ok().flatten().or_else(|| health_of_breakers(service)),
        };
        let losses = Losses { transitions_dropped: dropped_transitions(service).into(), ..Losses::default() };
        let mut reading = Reading { key: &key, place, losses };
        let histograms = [service.call_latency.as_ref(), service.attempt_latency.as_ref()];
        let activity = activity(&mut reading, service.counters, histograms);
        let limit = Load { limit: service.adaptive_limit, in_flight: service.adaptive_in_flight };
        let adaptive_limit = Some(limit).filter(|limit| limit.limit > 0);
        let registered = registry.get(&key);
        let own = registered
            .as_ref()
            .map(|registered| Part::with_own_breaker(&registered.policy_at(registry.wall_time())))
            .unwrap_or_default();
        let parts = parts(&own, service);
        let transitions = transitions(&own, service);
        let is_registered = registered.is_some();
        let learned = breaker_state_from_wire(service.learned_state).ok().flatten();
        let methods = registered.map(|registered| methods(&mut reading, &registered, &service.methods));
        let (methods, losses) = (methods.unwrap_or_default(), reading.losses);
        let report = Report {
            activity,
            methods,
            condition,
            learned,
            parts,
            adaptive_limit,
            held: service.held_breakers,
            transitions,
            rejections: rejections(place.instance_id(), &service.rejections),
            losses,
            is_registered,
        };
        place.report(&key, report);
        tell(place, &key, service, is_registered);
        for transition in &service.transitions {
            let (from, to) = (transition.from().as_str_name(), transition.to().as_str_name());
            let v1::BreakerTransition { pool, method_glob, cause, .. } = transition;
            let instance = place.instance_id();
            let ServiceKey { namespace, name } = &key;
            tracing::debug!(target: LOG, %namespace, service = %name, instance, ?pool, ?method_glob, from, to, ?cause, "breaker");
        }
    }
    faults.into_result()
}

/// Tells what the breakers of a service did. Names of services that nobody registered have no end: of them nothing is told.
fn tell(place: &Place, key: &ServiceKey, report: &v1::ServiceReport, is_registered: bool) {
    if !is_registered || (report.transitions.is_empty() && report.transitions_dropped == 0) {
        return;
    }
    let (instance, in_force) = (place.instance_id(), place.in_force(key));
    let (known, dropped) = (known_transitions(report).count(), dropped_transitions(report));
    let wanted = known + usize::from(dropped > 0);
    let allowed = place.may_tell(wanted);
    // Where it may not tell all, the last word is of those that it leaves out.
    let told = if allowed < wanted { allowed.saturating_sub(1) } else { known };
    for (transition, age) in known_transitions(report).take(told) {
        let news = News::breaker(key, instance, in_force, &bounded(transition));
        place.events().tell_at(news, age);
    }
    let dropped = dropped.saturating_add(u32::try_from(known - told).unwrap_or(u32::MAX));
    if dropped > 0 && allowed > 0 {
        place.events().tell(News::more_transitions(key, instance, in_force, dropped));
    }
}

/// Those that there is room for, and how long ago they were.
fn known_transitions(report: &v1::ServiceReport) -> impl Iterator<Item = (&v1::BreakerTransition, Duration)> {
    let age = |transition: &v1::BreakerTransition| match transition.age {
        Some(age) => duration_from_wire(age).ok().filter(|age| *age <= OLDEST_TRANSITION),
        None => Some(Duration::ZERO),
    };
    report.transitions.iter().take(MAX_TRANSITIONS).filter_map(move |transition| Some((transition, age(transition)?)))
}

/// Those that there was no room for, and that cannot have been when they say.
fn dropped_transitions(report: &v1::ServiceReport) -> u32 {
    let here = report.transitions.len() - known_transitions(report).count();
    report.transitions_dropped.saturating_add(u32::try_from(here).unwrap_or(u32::MAX))
}

/// A transition with no more text than one may have.
fn bounded(transition: &v1::BreakerTransition) -> v1::BreakerTransition {
    let cut = |text: &str| shortened(text, MAX_PATH_BYTES);
    let v1::BreakerTransition { cause, pool, method_glob, .. } = transition;
    v1::BreakerTransition { cause: cut(cause), pool: cut(pool), method_glob: cut(method_glob), ..transition.clone() }
}

/// What happened to some calls, by a report.
fn activity(reading: &mut Reading<'_>, counters: Option<v1::CallCounters>, latencies: Histograms<'_>) -> Activity {
    let [calls, attempts] = latencies.map(|histogram| reading.histogram(histogram));
    let latencies = CallLatencySnapshot { calls, attempts };
    Activity { counters: counters_from_wire(&counters.unwrap_or_default()), latencies }
}

/// The histograms of calls and of attempts.
type Histograms<'a> = [Option<&'a v1::LatencyHistogram>; 2];

/// A report of a service that is being read, and what of it cannot be known.
struct Reading<'a> {
    key: &'a ServiceKey,
    place: &'a Place,
    losses: Losses,
}

impl Reading<'_> {
    /// An invalid histogram is left out: the counters beside it are as good as ever.
    fn histogram(&mut self, histogram: Option<&v1::LatencyHistogram>) -> SparseLatency {
        let read = latency_from_wire(histogram).map_err(|invalid| invalid.to_string());
        let read = read.and_then(|histogram| {
            let is_plausible = histogram.count() <= plausible::MOST;
            if is_plausible { Ok(histogram) } else { Err(format!("counts more than {}", plausible::MOST)) }
        });
        read.unwrap_or_else(|invalid| {
            tracing::debug!(service = %self.key, instance = self.place.instance_id(), "a latency histogram {invalid}");
            self.losses.histograms_refused = self.losses.histograms_refused.saturating_add(1);
            SparseLatency::default()
        })
    }
}

/// What an instance that reports no health says of it.
fn health_of_breakers(report: &v1::ServiceReport) -> Option<HealthStatus> {
    match (report.breaker_state(), service_breaker(report)) {
        (_, State::Open) => Some(HealthStatus::CircuitOpen),
        (v1::BreakerState::Open, _) => Some(HealthStatus::Degraded),
        _ => None,
    }
}

/// The breakers that are not closed: the service's own, and of parts those that have one by the policy of now: an instance
/// with another policy will soon have this one, and what is kept of a report is bounded by the policy.
fn parts(own: &[Part], report: &v1::ServiceReport) -> Vec<(Part, State)> {
    let known = own.iter().map(|part| (part.clone(), breaker_of(part, report)));
    let all = std::iter::once((Part::Service, service_breaker(report))).chain(known);
    all.filter(|(_, state)| *state != State::Closed).collect()
}

/// The service's own breaker: where no breaker that is named is as bad as the least good one, that is it.
fn service_breaker(report: &v1::ServiceReport) -> State {
    let least_good = state_or_closed(report.breaker_state);
    let named = report.breakers.iter().map(|breaker| state_or_closed(breaker.state)).max();
    if named.is_none_or(|named| named < least_good) { least_good } else { breaker_of(&Part::Service, report) }
}

/// The breaker of a part. One that is not named is closed.
fn breaker_of(part: &Part, report: &v1::ServiceReport) -> State {
    let named = report.breakers.iter().find(|breaker| part_is(part, &breaker.pool, &breaker.method_glob));
    named.map_or(State::Closed, |breaker| state_or_closed(breaker.state))
}

fn state_or_closed(number: i32) -> State {
    breaker_state_from_wire(number).ok().flatten().unwrap_or(State::Closed)
}

/// What happened to methods, of the overrides in the policy of now.
fn methods(
    reading: &mut Reading<'_>,
    registered: &Registered,
    reported: &[v1::MethodReport],
) -> Vec<(String, Activity)> {
    let known = registered.policy().method_overrides.iter().filter_map(|entry| {
        let report = reported.iter().find(|report| report.method_glob == entry.glob)?;
        let histograms = [report.call_latency.as_ref(), report.attempt_latency.as_ref()];
        Some((entry.glob.clone(), activity(reading, report.counters, histograms)))
    });
    known.collect()
}

/// What the breakers of the service and of these parts did; what no call felt is left out.
fn transitions(own: &[Part], report: &v1::ServiceReport) -> Vec<Transition> {
    let now = Instant::now();
    let felt = known_transitions(report).filter(|(transition, _)| !transition.unenforced);
    let known = felt.filter_map(|(transition, age)| {
        let v1::BreakerTransition { from, to, pool, method_glob, .. } = transition;
        let parts = std::iter::once(&Part::Service).chain(own);
        let part = parts.into_iter().find(|part| part_is(part, pool, method_glob))?.clone();
        let to = breaker_state_from_wire(*to).ok().flatten()?;
        // Who does not say it comes from where one usually does.
        let from = breaker_state_from_wire(*from).ok().flatten().unwrap_or(match to {
            State::Open => State::Closed,
            State::HalfOpen => State::Open,
            State::Closed => State::HalfOpen,
        });
        let at = now.checked_sub(age).unwrap_or(now);
        Some(Transition { part, from, to, at })
    });
    known.collect()
}

fn warn_of(key: &ServiceKey, refusal: &Refusal, stays: Revision, instance: &str) {
    let ServiceKey { namespace, name } = key;
    let Revision { epoch, revision } = refusal.revision;
    // Debug formatting escapes what an instance might put into our log.
    tracing::warn!(
        target: LOG,
        %namespace,
        service = %name,
        instance,
        epoch,
        revision,
        in_force = %stays,
        reason = ?refusal.reason,
        field = ?refusal.field_path,
        "an instance refused a policy",
    );
}
