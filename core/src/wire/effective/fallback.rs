use super::super::faults::{Faults, set};
use crate::name::{DEFAULT_NAMESPACE, Name};
use crate::policy::limits::{MAX_FEATURES, MAX_KEY_FIELDS, MAX_STEPS};
use crate::policy::{
    AlternativeFallback, CachedFallback, DegradedFallback, FallbackPolicy, FallbackStep, FallbackTrigger,
    StaticFallback,
};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

pub(super) fn read(faults: &mut Faults, written: &v1::FallbackPolicy, policy: &mut FallbackPolicy) {
    let v1::FallbackPolicy { enabled, chain, on, max_concurrent, reserve } = written;
    if !chain.is_empty() {
        // Who writes a chain wants it used; one too many is enough for the check to refuse it.
        policy.enabled = true;
        let steps = chain.iter().take(MAX_STEPS + 1).enumerate();
        policy.chain = steps.filter_map(|(index, step)| read_step(faults, index, step)).collect();
    }
    set(&mut policy.enabled, *enabled);
    if !on.is_empty() {
        policy.on = read_triggers(faults, on);
    }
    set(&mut policy.max_concurrent, *max_concurrent);
    if let Some(reserve) = faults.read_duration("fallback.reserve", *reserve) {
        policy.reserve = Some(reserve);
    }
}

/// The triggers named; all of them where one cannot be read, so that the check of the whole finds nothing more to say.
fn read_triggers(faults: &mut Faults, written: &[i32]) -> Vec<FallbackTrigger> {
    // One more than there are must hold one twice, which the check refuses.
    let written = &written[..written.len().min(FallbackTrigger::ALL.len() + 1)];
    let triggers: Vec<FallbackTrigger> =
        written.iter().enumerate().filter_map(|(index, number)| read_trigger(faults, index, *number)).collect();
    if triggers.len() < written.len() { FallbackTrigger::ALL.to_vec() } else { triggers }
}

fn read_trigger(faults: &mut Faults, index: usize, number: i32) -> Option<FallbackTrigger> {
    match v1::FallbackTrigger::try_from(number) {
        Ok(v1::FallbackTrigger::Failure) => Some(FallbackTrigger::Failure),
        Ok(v1::FallbackTrigger::Timeout) => Some(FallbackTrigger::Timeout),
        Ok(v1::FallbackTrigger::Open) => Some(FallbackTrigger::Open),
        Ok(v1::FallbackTrigger::Bulkhead) => Some(FallbackTrigger::Bulkhead),
        Ok(v1::FallbackTrigger::RateLimit) => Some(FallbackTrigger::RateLimit),
        Ok(v1::FallbackTrigger::Unspecified) | Err(_) => {
            let path = format!("fallback.on[{index}]");
            faults.invalid(path, format_args!("must be a trigger that the contract names, not {number}"));
            None
        }
    }
}

/// A step, or what keeps its place: the steps after it are known by their number.
fn read_step(faults: &mut Faults, index: usize, written: &v1::FallbackStep) -> Option<FallbackStep> {
    let v1::FallbackStep { strategy } = written;
    let path = format!("fallback.chain[{index}]");
    match strategy {
        Some(Strategy::Static(step)) => Some(FallbackStep::Static(read_static(step))),
        Some(Strategy::Cached(step)) => Some(FallbackStep::Cached(read_cached(faults, &path, step))),
        Some(Strategy::Alternative(step)) => read_alternative(faults, &path, step).map(FallbackStep::Alternative),
        Some(Strategy::Degraded(step)) => Some(FallbackStep::Degraded(read_degraded(step))),
        None => {
            faults.invalid(path, "must set one of static, cached, alternative and degraded");
            stand_in().map(|service| {
                let (method, timeout) = (String::new(), AlternativeFallback::DEFAULT_TIMEOUT);
                FallbackStep::Alternative(AlternativeFallback { service, method, timeout })
            })
        }
    }
}

/// The service of a step that is at fault already. An alternative may stand in a chain more than once, so the check
/// of the whole has nothing to say about it.
fn stand_in() -> Option<Name> {
    Name::new(DEFAULT_NAMESPACE).ok()
}

fn read_static(written: &v1::StaticFallback) -> StaticFallback {
    let v1::StaticFallback { payload, content_type } = written;
    StaticFallback { payload: payload.clone(), content_type: content_type.clone() }
}

fn read_cached(faults: &mut Faults, path: &str, written: &v1::CachedFallback) -> CachedFallback {
    let v1::CachedFallback { ttl, stale_if_error, max_entries, max_entry_bytes, key_fields, max_bytes } = written;
    let mut step = CachedFallback::default();
    faults.duration(&format!("{path}.cached.ttl"), *ttl, &mut step.ttl);
    faults.duration(&format!("{path}.cached.stale_if_error"), *stale_if_error, &mut step.stale_if_error);
    set(&mut step.max_entries, *max_entries);
    // What is left unset moves out of the way of what is set, unless that is at fault itself.
    let all = max_bytes.filter(|all| *all > 0).unwrap_or(step.max_bytes);
    step.max_entry_bytes = max_entry_bytes.unwrap_or(step.max_entry_bytes.min(all));
    set(&mut step.max_bytes, *max_bytes);
    step.key_fields = key_fields.iter().take(MAX_KEY_FIELDS + 1).cloned().collect();
    step
}

fn read_alternative(faults: &mut Faults, path: &str, written: &v1::AlternativeFallback) -> Option<AlternativeFallback> {
    let v1::AlternativeFallback { service, method, timeout } = written;
    let service = match Name::new(service) {
        Ok(service) => Some(service),
        Err(fault) => {
            faults.invalid(format!("{path}.alternative.service"), fault);
            stand_in()
        }
    };
    let mut limit = AlternativeFallback::DEFAULT_TIMEOUT;
    faults.duration(&format!("{path}.alternative.timeout"), *timeout, &mut limit);
    service.map(|service| AlternativeFallback { service, method: method.clone(), timeout: limit })
}

fn read_degraded(written: &v1::DegradedFallback) -> DegradedFallback {
    let v1::DegradedFallback { features, reason } = written;
    DegradedFallback { features: features.iter().take(MAX_FEATURES + 1).cloned().collect(), reason: reason.clone() }
}
