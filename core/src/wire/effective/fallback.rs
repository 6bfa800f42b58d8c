use super::super::origin::Word;
use super::merge::Merge;
use crate::name::{DEFAULT_NAMESPACE, Name};
use crate::policy::limits::{MAX_FEATURES, MAX_KEY_FIELDS, MAX_STEPS};
use crate::policy::{
    AlternativeFallback, CachedFallback, DegradedFallback, FallbackPolicy, FallbackStep, FallbackTrigger,
    StaticFallback,
};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

pub(super) fn read(merge: &mut Merge, written: &v1::FallbackPolicy, policy: &mut FallbackPolicy) {
    let v1::FallbackPolicy { enabled, chain, on, max_concurrent, reserve } = written;
    if !chain.is_empty() {
        // Who writes a chain wants it used; one too many is enough for the check to refuse it.
        merge.follow("fallback.enabled", &mut policy.enabled, true, "fallback.chain");
        merge.note("fallback.chain", Word::Listed);
        let steps = chain.iter().take(MAX_STEPS + 1).enumerate();
        policy.chain = steps.filter_map(|(index, step)| read_step(merge, index, step)).collect();
    }
    merge.set("fallback.enabled", &mut policy.enabled, *enabled);
    let triggers = (!on.is_empty()).then(|| read_triggers(merge, on));
    merge.set("fallback.on", &mut policy.on, triggers);
    merge.set("fallback.max_concurrent", &mut policy.max_concurrent, *max_concurrent);
    let reserve = merge.read_duration("fallback.reserve", *reserve);
    merge.set("fallback.reserve", &mut policy.reserve, reserve.map(Some));
}

/// The triggers named; all of them where one cannot be read, so that the check of the whole finds nothing more to say.
fn read_triggers(merge: &mut Merge, written: &[i32]) -> Vec<FallbackTrigger> {
    // One more than there are must hold one twice, which the check refuses.
    let written = &written[..written.len().min(FallbackTrigger::ALL.len() + 1)];
    let triggers: Vec<FallbackTrigger> =
        written.iter().enumerate().filter_map(|(index, number)| read_trigger(merge, index, *number)).collect();
    if triggers.len() < written.len() { FallbackTrigger::ALL.to_vec() } else { triggers }
}

fn read_trigger(merge: &mut Merge, index: usize, number: i32) -> Option<FallbackTrigger> {
    match v1::FallbackTrigger::try_from(number) {
        Ok(v1::FallbackTrigger::Failure) => Some(FallbackTrigger::Failure),
        Ok(v1::FallbackTrigger::Timeout) => Some(FallbackTrigger::Timeout),
        Ok(v1::FallbackTrigger::Open) => Some(FallbackTrigger::Open),
        Ok(v1::FallbackTrigger::Bulkhead) => Some(FallbackTrigger::Bulkhead),
        Ok(v1::FallbackTrigger::RateLimit) => Some(FallbackTrigger::RateLimit),
        Ok(v1::FallbackTrigger::Unspecified) | Err(_) => {
            let path = format!("fallback.on[{index}]");
            merge.invalid(path, format_args!("must be a trigger that the contract names, not {number}"));
            None
        }
    }
}

/// A step, or what keeps its place: the steps after it are known by their number.
fn read_step(merge: &mut Merge, index: usize, written: &v1::FallbackStep) -> Option<FallbackStep> {
    let v1::FallbackStep { strategy } = written;
    let path = format!("fallback.chain[{index}]");
    match strategy {
        Some(Strategy::Static(step)) => {
            merge.note(&path, Word::Written);
            Some(FallbackStep::Static(read_static(step)))
        }
        Some(Strategy::Cached(step)) => Some(FallbackStep::Cached(read_cached(merge, &path, step))),
        Some(Strategy::Alternative(step)) => read_alternative(merge, &path, step).map(FallbackStep::Alternative),
        Some(Strategy::Degraded(step)) => {
            merge.note(&path, Word::Written);
            Some(FallbackStep::Degraded(read_degraded(step)))
        }
        None => {
            merge.invalid(path, "must set one of static, cached, alternative and degraded");
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

fn read_cached(merge: &mut Merge, path: &str, written: &v1::CachedFallback) -> CachedFallback {
    let v1::CachedFallback { ttl, stale_if_error, max_entries, max_entry_bytes, key_fields, max_bytes } = written;
    let mut step = CachedFallback::default();
    merge.duration(&format!("{path}.cached.ttl"), *ttl, &mut step.ttl);
    merge.duration(&format!("{path}.cached.stale_if_error"), *stale_if_error, &mut step.stale_if_error);
    merge.set(&format!("{path}.cached.max_entries"), &mut step.max_entries, *max_entries);
    // What is left unset moves out of the way of what is set, unless that is at fault itself.
    let all = max_bytes.filter(|all| *all > 0).unwrap_or(step.max_bytes);
    let (one, every) = (format!("{path}.cached.max_entry_bytes"), format!("{path}.cached.max_bytes"));
    let fitting = step.max_entry_bytes.min(all);
    merge.follow(&one, &mut step.max_entry_bytes, fitting, &every);
    merge.set(&one, &mut step.max_entry_bytes, *max_entry_bytes);
    merge.set(&every, &mut step.max_bytes, *max_bytes);
    let fields = (!key_fields.is_empty()).then(|| key_fields.iter().take(MAX_KEY_FIELDS + 1).cloned().collect());
    merge.set(&format!("{path}.cached.key_fields"), &mut step.key_fields, fields);
    step
}

fn read_alternative(merge: &mut Merge, path: &str, written: &v1::AlternativeFallback) -> Option<AlternativeFallback> {
    let v1::AlternativeFallback { service, method, timeout } = written;
    let service = match Name::new(service) {
        Ok(service) => Some(service),
        Err(fault) => {
            merge.invalid(format!("{path}.alternative.service"), fault);
            stand_in()
        }
    };
    merge.note(&format!("{path}.alternative.service"), Word::Written);
    if !method.is_empty() {
        merge.note(&format!("{path}.alternative.method"), Word::Written);
    }
    let mut limit = AlternativeFallback::DEFAULT_TIMEOUT;
    merge.duration(&format!("{path}.alternative.timeout"), *timeout, &mut limit);
    service.map(|service| AlternativeFallback { service, method: method.clone(), timeout: limit })
}

fn read_degraded(written: &v1::DegradedFallback) -> DegradedFallback {
    let v1::DegradedFallback { features, reason } = written;
    DegradedFallback { features: features.iter().take(MAX_FEATURES + 1).cloned().collect(), reason: reason.clone() }
}
