//! From what was written to what is enforced.
//!
//! Each section starts from the preset's values, or the defaults, and each field that was written overrides one. All
//! faults are collected: those of the messages here, those of the whole by [`Policy::new`].

mod adaptive_limit;
mod breaker;
mod bulkhead;
mod fallback;
mod fleet_hint;
mod hedge;
mod method_overrides;
mod rate_limit;
mod retry;

use super::faults::{Faults, set};
use super::level::level_from_wire;
use crate::outcome::Outcome;
use crate::policy::limits::{MAX_ERROR_TYPES, MAX_GRPC_CODE, MAX_HTTP_RANGES, MAX_HTTP_STATUS};
use crate::policy::{
    ClassificationPolicy, ErrorTypeRule, HealthPolicy, InvalidPolicy, Policy, PolicySpec, Preset, TimeoutPolicy,
};
use cofferdam_proto::v1;
use std::ops::RangeInclusive;

/// More of an unknown preset's name is not repeated to its writer. Longer than any preset's name.
const MAX_ECHO_CHARS: usize = 64;

/// What is enforced where this was written: the preset's values, or the defaults, overridden by each field that is set.
///
/// # Errors
///
/// [`InvalidPolicy`] with every field at fault, by its path in `IsolationPolicy`. A field that this release does not
/// enforce is at fault where it asks for something, and not where it says "off" or has no meaning by itself.
pub fn effective_policy(written: &v1::IsolationPolicy) -> Result<Policy, InvalidPolicy> {
    let v1::IsolationPolicy { level, preset, method_overrides, .. } = written;
    let mut faults = Faults::default();
    let base = base(&mut faults, preset);
    let mut spec = base.clone();
    match level_from_wire(*level) {
        Ok(level) => set(&mut spec.level, level),
        Err(fault) => faults.invalid("level", fault),
    }
    read_sections(&mut faults, written, &mut spec);
    if let Some(written) = &written.health {
        read_health(&mut faults, written, &mut spec.health);
    }
    if let Some(written) = &written.fleet_hint {
        fleet_hint::read(&mut faults, *written, &mut spec.fleet_hint);
    }
    spec.method_overrides = method_overrides::read(&mut faults, method_overrides, &base, spec.retry.budget);
    faults.check(spec)
}

/// The sections that a policy and the policy of an override both may have.
fn read_sections(faults: &mut Faults, written: &v1::IsolationPolicy, spec: &mut PolicySpec) {
    let v1::IsolationPolicy {
        // For the policy itself.
        level: _,
        preset: _,
        timeout,
        circuit_breaker,
        classification,
        retry,
        hedge,
        bulkhead,
        adaptive_limit,
        rate_limit,
        fallback,
        // For the policy itself.
        health: _,
        fleet_hint: _,
        method_overrides: _,
    } = written;
    if let Some(written) = timeout {
        read_timeout(faults, written, &mut spec.timeout);
    }
    if let Some(written) = circuit_breaker {
        breaker::read(faults, written, &mut spec.breaker);
    }
    if let Some(written) = classification {
        read_classification(faults, written, &mut spec.classification);
    }
    if let Some(written) = retry {
        retry::read(faults, written, &mut spec.retry);
    }
    if let Some(written) = hedge {
        hedge::read(faults, *written, &mut spec.hedge);
    }
    if let Some(written) = bulkhead {
        bulkhead::read(faults, written, &mut spec.bulkhead);
    }
    if let Some(written) = adaptive_limit {
        adaptive_limit::read(faults, *written, &mut spec.adaptive_limit);
    }
    if let Some(written) = rate_limit {
        rate_limit::read(faults, *written, &mut spec.rate_limit);
    }
    if let Some(written) = fallback {
        fallback::read(faults, written, &mut spec.fallback);
    }
}

fn base(faults: &mut Faults, preset: &str) -> PolicySpec {
    if preset.is_empty() {
        return PolicySpec::default();
    }
    let name: String = preset.chars().take(MAX_ECHO_CHARS).collect();
    match name.parse::<Preset>() {
        Ok(preset) => preset.spec(),
        Err(fault) => {
            faults.invalid("preset", fault);
            PolicySpec::default()
        }
    }
}

fn read_timeout(faults: &mut Faults, written: &v1::TimeoutPolicy, policy: &mut TimeoutPolicy) {
    let v1::TimeoutPolicy { call_timeout, attempt_timeout, propagate_deadline, min_attempt_budget } = written;
    faults.duration("timeout.call_timeout", *call_timeout, &mut policy.call_timeout);
    faults.duration("timeout.attempt_timeout", *attempt_timeout, &mut policy.attempt_timeout);
    set(&mut policy.propagate_deadline, *propagate_deadline);
    faults.duration("timeout.min_attempt_budget", *min_attempt_budget, &mut policy.min_attempt_budget);
}

fn read_classification(faults: &mut Faults, written: &v1::ClassificationPolicy, policy: &mut ClassificationPolicy) {
    let v1::ClassificationPolicy {
        grpc_failure_codes,
        grpc_neutral_codes,
        http_failure_statuses,
        http_neutral_statuses,
        error_types,
    } = written;
    set(&mut policy.grpc_failure_codes, codes(grpc_failure_codes));
    set(&mut policy.grpc_neutral_codes, codes(grpc_neutral_codes));
    set(
        &mut policy.http_failure_statuses,
        statuses(faults, "classification.http_failure_statuses", http_failure_statuses),
    );
    set(
        &mut policy.http_neutral_statuses,
        statuses(faults, "classification.http_neutral_statuses", http_neutral_statuses),
    );
    if !error_types.is_empty() {
        let rules = error_types.iter().take(MAX_ERROR_TYPES + 1).enumerate();
        policy.error_types = rules.map(|(index, rule)| read_error_type(faults, index, rule)).collect();
    }
}

fn read_error_type(faults: &mut Faults, index: usize, written: &v1::ErrorTypeRule) -> ErrorTypeRule {
    let v1::ErrorTypeRule { type_name, outcome } = written;
    let path = format!("classification.error_types[{index}].outcome");
    let outcome = match faults.enumeration(&path, *outcome) {
        Some(v1::OutcomeClass::Success) => Outcome::Success,
        Some(v1::OutcomeClass::Failure) => Outcome::Failure,
        Some(v1::OutcomeClass::Neutral) => Outcome::Neutral,
        Some(v1::OutcomeClass::Unspecified) => {
            faults.invalid(path, "must be OUTCOME_CLASS_SUCCESS, OUTCOME_CLASS_FAILURE or OUTCOME_CLASS_NEUTRAL");
            Outcome::Neutral
        }
        None => Outcome::Neutral,
    };
    ErrorTypeRule { type_name: type_name.clone(), outcome }
}

/// A list of codes that says something. Of a list that is too long, enough is read for the check to refuse it.
fn codes(written: &[u32]) -> Option<Vec<u32>> {
    let enough = MAX_GRPC_CODE as usize + 2;
    (!written.is_empty()).then(|| written.iter().copied().take(enough).collect())
}

/// The same for ranges of HTTP statuses.
fn statuses(faults: &mut Faults, path: &str, written: &[v1::HttpStatusRange]) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |(index, &v1::HttpStatusRange { first, last }): (usize, &_)| {
        // The check of the whole compares it with nothing where `first` is at fault.
        if last > MAX_HTTP_STATUS {
            faults.invalid(format!("{path}[{index}].last"), format_args!("must be in [100, 599], not {last}"));
        }
        first..=if last == 0 { first } else { last }
    };
    (!written.is_empty()).then(|| written.iter().take(MAX_HTTP_RANGES + 1).enumerate().map(range).collect())
}

fn read_health(faults: &mut Faults, written: &v1::HealthPolicy, policy: &mut HealthPolicy) {
    let v1::HealthPolicy { degraded_error_rate, unhealthy_error_rate, window, minimum_calls } = written;
    set(&mut policy.degraded_error_rate, *degraded_error_rate);
    set(&mut policy.unhealthy_error_rate, *unhealthy_error_rate);
    faults.duration("health.window", *window, &mut policy.window);
    set(&mut policy.minimum_calls, *minimum_calls);
}

#[cfg(test)]
mod tests;
