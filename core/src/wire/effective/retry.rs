use super::super::faults::{Faults, set};
use crate::policy::limits::MAX_DURATION;
use crate::policy::{BudgetPolicy, Jitter, RetryPolicy};
use cofferdam_proto::v1;

/// The ratio of a plus-minus jitter that names none.
const DEFAULT_JITTER_RATIO: f64 = 0.2;

pub(super) fn read(faults: &mut Faults, written: &v1::RetryPolicy, policy: &mut RetryPolicy) {
    let v1::RetryPolicy {
        max_attempts,
        initial_backoff,
        multiplier,
        max_backoff,
        jitter,
        jitter_ratio,
        budget,
        retryable_grpc_codes,
        only_idempotent,
        honour_pushback,
        max_pushback,
    } = written;
    set(&mut policy.max_attempts, *max_attempts);
    faults.duration("retry.initial_backoff", *initial_backoff, &mut policy.initial_backoff);
    set(&mut policy.multiplier, *multiplier);
    // Unset, the longest pause gives way to the first one, unless that is at fault itself.
    if max_backoff.is_none() && policy.initial_backoff <= MAX_DURATION {
        policy.max_backoff = policy.max_backoff.max(policy.initial_backoff);
    }
    faults.duration("retry.max_backoff", *max_backoff, &mut policy.max_backoff);
    policy.jitter = read_jitter(faults, *jitter, *jitter_ratio, policy.jitter);
    if let Some(written) = budget {
        read_budget(faults, *written, &mut policy.budget);
    }
    set(&mut policy.retryable_grpc_codes, super::codes(retryable_grpc_codes));
    set(&mut policy.only_idempotent, *only_idempotent);
    set(&mut policy.honour_pushback, *honour_pushback);
    faults.duration("retry.max_pushback", *max_pushback, &mut policy.max_pushback);
}

/// A ratio says something of plus-minus only; beside another jitter it waits for its time.
fn read_jitter(faults: &mut Faults, number: i32, ratio: Option<f64>, base: Jitter) -> Jitter {
    let jitter = match faults.enumeration("retry.jitter", number) {
        None | Some(v1::Jitter::Unspecified) => base,
        Some(v1::Jitter::None) => Jitter::None,
        Some(v1::Jitter::PlusMinus) if matches!(base, Jitter::PlusMinus(_)) => base,
        Some(v1::Jitter::PlusMinus) => Jitter::PlusMinus(DEFAULT_JITTER_RATIO),
        Some(v1::Jitter::Equal) => Jitter::Equal,
        Some(v1::Jitter::Full) => Jitter::Full,
    };
    match (jitter, ratio) {
        (Jitter::PlusMinus(_), Some(ratio)) => Jitter::PlusMinus(ratio),
        _ => {
            faults.inert_ratio("retry.jitter_ratio", ratio);
            jitter
        }
    }
}

fn read_budget(faults: &mut Faults, written: v1::RetryBudget, policy: &mut BudgetPolicy) {
    let v1::RetryBudget { ratio, min_per_second, ttl } = written;
    set(&mut policy.ratio, ratio);
    set(&mut policy.min_per_second, min_per_second);
    faults.duration("retry.budget.ttl", ttl, &mut policy.ttl);
}
