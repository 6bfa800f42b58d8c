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
mod merge;
mod method_overrides;
mod rate_limit;
mod retry;

use self::merge::Merge;
use super::auto_level::auto_level;
use super::level::level_from_wire;
use super::origin::{TracedPolicy, Word};
use crate::level::LevelChoice;
use crate::outcome::Outcome;
use crate::policy::limits::{MAX_ERROR_TYPES, MAX_GRPC_CODE, MAX_HTTP_RANGES, MAX_HTTP_STATUS};
use crate::policy::{
    ClassificationPolicy, ErrorTypeRule, HealthPolicy, InvalidPolicy, Policy, PolicySpec, Preset, TimeoutPolicy,
    UnknownPreset,
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
    merged(written, false).map(TracedPolicy::into_policy)
}

/// The merge. `notes`: whether it says where each value comes from.
pub(super) fn merged(written: &v1::IsolationPolicy, notes: bool) -> Result<TracedPolicy, InvalidPolicy> {
    let v1::IsolationPolicy { level, preset, method_overrides, .. } = written;
    let mut merge = Merge::new(notes);
    let preset = read_preset(&mut merge, preset);
    let base = preset.map(Preset::spec).unwrap_or_default();
    let mut spec = base.clone();
    match level_from_wire(*level) {
        Ok(Some(LevelChoice::Auto)) => {
            let auto = auto_level(written, preset);
            spec.level = auto.level;
            merge.note("level", Word::Auto(auto.because));
        }
        Ok(level) => merge.set("level", &mut spec.level, level.and_then(LevelChoice::fixed)),
        Err(fault) => merge.invalid("level", fault),
    }
    read_sections(&mut merge, written, &mut spec);
    if let Some(written) = &written.health {
        read_health(&mut merge, written, &mut spec.health);
    }
    if let Some(written) = &written.fleet_hint {
        fleet_hint::read(&mut merge, *written, &mut spec.fleet_hint);
    }
    let (entries, said) = method_overrides::read(&mut merge, method_overrides, &base, spec.retry.budget);
    spec.method_overrides = entries;
    let (faults, said_by_service) = merge.finish();
    Ok(TracedPolicy::of(faults.check(spec)?, preset, said_by_service, said))
}

/// The sections that a policy and the policy of an override both may have.
fn read_sections(merge: &mut Merge, written: &v1::IsolationPolicy, spec: &mut PolicySpec) {
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
        merge.note("timeout", Word::Section);
        read_timeout(merge, written, &mut spec.timeout);
    }
    if let Some(written) = circuit_breaker {
        merge.note("circuit_breaker", Word::Section);
        breaker::read(merge, written, &mut spec.breaker);
    }
    if let Some(written) = classification {
        merge.note("classification", Word::Section);
        read_classification(merge, written, &mut spec.classification);
    }
    if let Some(written) = retry {
        merge.note("retry", Word::Section);
        retry::read(merge, written, &mut spec.retry);
    }
    if let Some(written) = hedge {
        merge.note("hedge", Word::Section);
        hedge::read(merge, *written, &mut spec.hedge);
    }
    if let Some(written) = bulkhead {
        merge.note("bulkhead", Word::Section);
        bulkhead::read(merge, written, &mut spec.bulkhead);
    }
    if let Some(written) = adaptive_limit {
        merge.note("adaptive_limit", Word::Section);
        adaptive_limit::read(merge, *written, &mut spec.adaptive_limit);
    }
    if let Some(written) = rate_limit {
        merge.note("rate_limit", Word::Section);
        rate_limit::read(merge, *written, &mut spec.rate_limit);
    }
    if let Some(written) = fallback {
        merge.note("fallback", Word::Section);
        fallback::read(merge, written, &mut spec.fallback);
    }
}

fn read_preset(merge: &mut Merge, preset: &str) -> Option<Preset> {
    if preset.is_empty() {
        return None;
    }
    let name: String = preset.chars().take(MAX_ECHO_CHARS).collect();
    name.parse().map_err(|fault: UnknownPreset| merge.invalid("preset", fault)).ok()
}

fn read_timeout(merge: &mut Merge, written: &v1::TimeoutPolicy, policy: &mut TimeoutPolicy) {
    let v1::TimeoutPolicy { call_timeout, attempt_timeout, propagate_deadline, min_attempt_budget } = written;
    merge.duration("timeout.call_timeout", *call_timeout, &mut policy.call_timeout);
    merge.duration("timeout.attempt_timeout", *attempt_timeout, &mut policy.attempt_timeout);
    merge.set("timeout.propagate_deadline", &mut policy.propagate_deadline, *propagate_deadline);
    merge.duration("timeout.min_attempt_budget", *min_attempt_budget, &mut policy.min_attempt_budget);
}

fn read_classification(merge: &mut Merge, written: &v1::ClassificationPolicy, policy: &mut ClassificationPolicy) {
    let v1::ClassificationPolicy {
        grpc_failure_codes,
        grpc_neutral_codes,
        http_failure_statuses,
        http_neutral_statuses,
        error_types,
    } = written;
    merge.set("classification.grpc_failure_codes", &mut policy.grpc_failure_codes, codes(grpc_failure_codes));
    merge.set("classification.grpc_neutral_codes", &mut policy.grpc_neutral_codes, codes(grpc_neutral_codes));
    let ranges = statuses(merge, "classification.http_failure_statuses", http_failure_statuses);
    merge.set("classification.http_failure_statuses", &mut policy.http_failure_statuses, ranges);
    let ranges = statuses(merge, "classification.http_neutral_statuses", http_neutral_statuses);
    merge.set("classification.http_neutral_statuses", &mut policy.http_neutral_statuses, ranges);
    if !error_types.is_empty() {
        let rules = error_types.iter().take(MAX_ERROR_TYPES + 1).enumerate();
        let rules = rules.map(|(index, rule)| read_error_type(merge, index, rule)).collect();
        merge.set("classification.error_types", &mut policy.error_types, Some(rules));
    }
}

fn read_error_type(merge: &mut Merge, index: usize, written: &v1::ErrorTypeRule) -> ErrorTypeRule {
    let v1::ErrorTypeRule { type_name, outcome } = written;
    let path = format!("classification.error_types[{index}].outcome");
    let outcome = match merge.enumeration(&path, *outcome) {
        Some(v1::OutcomeClass::Success) => Outcome::Success,
        Some(v1::OutcomeClass::Failure) => Outcome::Failure,
        Some(v1::OutcomeClass::Neutral) => Outcome::Neutral,
        Some(v1::OutcomeClass::Unspecified) => {
            merge.invalid(path, "must be OUTCOME_CLASS_SUCCESS, OUTCOME_CLASS_FAILURE or OUTCOME_CLASS_NEUTRAL");
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
fn statuses(merge: &mut Merge, path: &str, written: &[v1::HttpStatusRange]) -> Option<Vec<RangeInclusive<u32>>> {
    let range = |(index, &v1::HttpStatusRange { first, last }): (usize, &_)| {
        // The check of the whole compares it with nothing where `first` is at fault.
        if last > MAX_HTTP_STATUS {
            merge.invalid(format!("{path}[{index}].last"), format_args!("must be in [100, 599], not {last}"));
        }
        first..=if last == 0 { first } else { last }
    };
    (!written.is_empty()).then(|| written.iter().take(MAX_HTTP_RANGES + 1).enumerate().map(range).collect())
}

fn read_health(merge: &mut Merge, written: &v1::HealthPolicy, policy: &mut HealthPolicy) {
    let v1::HealthPolicy { degraded_error_rate, unhealthy_error_rate, window, minimum_calls } = written;
    merge.set("health.degraded_error_rate", &mut policy.degraded_error_rate, *degraded_error_rate);
    merge.set("health.unhealthy_error_rate", &mut policy.unhealthy_error_rate, *unhealthy_error_rate);
    merge.duration("health.window", *window, &mut policy.window);
    merge.set("health.minimum_calls", &mut policy.minimum_calls, *minimum_calls);
}

#[cfg(test)]
mod tests;
