use crate::level::{Level, Section};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

/// What was written and is not in force at a level, by path: whole sections such as `retry`, and single fields of
/// sections that are in force, such as `fallback.chain[1].alternative` at basic. In the order of the contract.
///
/// It is advice, for people who wonder why a number has no effect; a preset's numbers are not theirs and not listed.
pub fn inactive_fields(written: &v1::IsolationPolicy, level: Level) -> Vec<String> {
    let mut paths = inactive_sections(written, level);
    for (index, entry) in written.method_overrides.iter().enumerate() {
        let sections = entry.policy.iter().flat_map(|policy| inactive_sections(policy, level));
        paths.extend(sections.map(|path| format!("method_overrides[{index}].policy.{path}")));
    }
    paths
}

fn inactive_sections(written: &v1::IsolationPolicy, level: Level) -> Vec<String> {
    let v1::IsolationPolicy {
        level: _,
        preset: _,
        timeout,
        circuit_breaker,
        // In force at every level.
        classification: _,
        retry,
        hedge,
        bulkhead,
        adaptive_limit,
        rate_limit,
        fallback,
        // In force at every level.
        health: _,
        fleet_hint,
        // Sections again.
        method_overrides: _,
    } = written;
    let mut paths = Vec::new();
    let mut list = |set: bool, in_force: bool, path: &str| {
        if set && !in_force {
            paths.push(path.to_owned());
        }
    };
    list(timeout.is_some(), level.enforces(Section::Timeout), "timeout");
    let breaks = level.enforces(Section::CircuitBreaker);
    list(circuit_breaker.is_some(), breaks, "circuit_breaker");
    let ramps = level.enforces(Section::RampUp);
    if let Some(breaker) = circuit_breaker.as_ref().filter(|_| breaks) {
        list(breaker.ramp_duration.is_some(), ramps, "circuit_breaker.ramp_duration");
        list(breaker.ramp_min_ratio.is_some(), ramps, "circuit_breaker.ramp_min_ratio");
    }
    list(retry.is_some(), level.enforces(Section::Retry), "retry");
    list(hedge.is_some(), level.enforces(Section::Hedge), "hedge");
    list(bulkhead.is_some(), level.enforces(Section::Bulkhead), "bulkhead");
    list(adaptive_limit.is_some(), level.enforces(Section::AdaptiveLimit), "adaptive_limit");
    list(rate_limit.is_some(), level.enforces(Section::RateLimit), "rate_limit");
    let falls_back = level.enforces(Section::Fallback);
    list(fallback.is_some(), falls_back, "fallback");
    if let Some(fallback) = fallback.as_ref().filter(|_| falls_back) {
        for (index, step) in fallback.chain.iter().enumerate() {
            let alternative = matches!(step.strategy, Some(Strategy::Alternative(_)));
            let in_force = level.enforces(Section::AlternativeFallback);
            list(alternative, in_force, &format!("fallback.chain[{index}].alternative"));
        }
    }
    list(fleet_hint.is_some(), breaks, "fleet_hint");
    paths
}

#[cfg(test)]
mod tests;
