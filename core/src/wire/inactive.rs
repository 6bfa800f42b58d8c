use crate::level::{Level, Section};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

/// What was written and is not in force at a level, by path: whole sections such as `retry`, and single fields of
/// sections that are in force, such as `fallback.chain[1].alternative` at basic. In the order of the contract.
///
/// It is advice, for people who wonder why a number has no effect; a preset's numbers are not theirs and not listed.
pub fn inactive_fields(written: &v1::IsolationPolicy, level: Level) -> Vec<String> {
    needed_levels(written, level).into_iter().map(|(path, _)| path).collect()
}

/// The same, each with the level from which on it is in force.
pub fn needed_levels(written: &v1::IsolationPolicy, level: Level) -> Vec<(String, Level)> {
    let mut paths = inactive_sections(written, level);
    for (index, entry) in written.method_overrides.iter().enumerate() {
        let sections = entry.policy.iter().flat_map(|policy| inactive_sections(policy, level));
        paths.extend(sections.map(|(path, least)| (format!("method_overrides[{index}].policy.{path}"), least)));
    }
    paths
}

fn inactive_sections(written: &v1::IsolationPolicy, level: Level) -> Vec<(String, Level)> {
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
    let mut list = |set: bool, section: Section, path: &str| {
        if set && !level.enforces(section) {
            paths.push((path.to_owned(), section.least_level()));
        }
    };
    list(timeout.is_some(), Section::Timeout, "timeout");
    list(circuit_breaker.is_some(), Section::CircuitBreaker, "circuit_breaker");
    if let Some(breaker) = circuit_breaker.as_ref().filter(|_| level.enforces(Section::CircuitBreaker)) {
        list(breaker.ramp_duration.is_some(), Section::RampUp, "circuit_breaker.ramp_duration");
        list(breaker.ramp_min_ratio.is_some(), Section::RampUp, "circuit_breaker.ramp_min_ratio");
    }
    list(retry.is_some(), Section::Retry, "retry");
    list(hedge.is_some(), Section::Hedge, "hedge");
    list(bulkhead.is_some(), Section::Bulkhead, "bulkhead");
    list(adaptive_limit.is_some(), Section::AdaptiveLimit, "adaptive_limit");
    list(rate_limit.is_some(), Section::RateLimit, "rate_limit");
    list(fallback.is_some(), Section::Fallback, "fallback");
    if let Some(fallback) = fallback.as_ref().filter(|_| level.enforces(Section::Fallback)) {
        for (index, step) in fallback.chain.iter().enumerate() {
            let alternative = matches!(step.strategy, Some(Strategy::Alternative(_)));
            list(alternative, Section::AlternativeFallback, &format!("fallback.chain[{index}].alternative"));
        }
    }
    list(fleet_hint.is_some(), Section::CircuitBreaker, "fleet_hint");
    paths
}

#[cfg(test)]
mod tests;
