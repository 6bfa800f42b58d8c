use super::super::origin::Word;
use super::merge::Merge;
use crate::policy::limits::MAX_DURATION;
use crate::policy::{BudgetPolicy, Jitter, RetryPolicy};
use cofferdam_proto::v1;

/// The ratio of a plus-minus jitter that names none.
const DEFAULT_JITTER_RATIO: f64 = 0.2;

pub(super) fn read(merge: &mut Merge, written: &v1::RetryPolicy, policy: &mut RetryPolicy) {
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
    merge.set("retry.max_attempts", &mut policy.max_attempts, *max_attempts);
    merge.duration("retry.initial_backoff", *initial_backoff, &mut policy.initial_backoff);
    merge.set("retry.multiplier", &mut policy.multiplier, *multiplier);
    // Unset, the longest pause gives way to the first one, unless that is at fault itself.
    if max_backoff.is_none() && policy.initial_backoff <= MAX_DURATION {
        let roomy = policy.max_backoff.max(policy.initial_backoff);
        merge.follow("retry.max_backoff", &mut policy.max_backoff, roomy, "retry.initial_backoff");
    }
    merge.duration("retry.max_backoff", *max_backoff, &mut policy.max_backoff);
    policy.jitter = read_jitter(merge, *jitter, *jitter_ratio, policy.jitter);
    if let Some(written) = budget {
        read_budget(merge, *written, &mut policy.budget);
    }
    merge.set("retry.retryable_grpc_codes", &mut policy.retryable_grpc_codes, super::codes(retryable_grpc_codes));
    merge.set("retry.only_idempotent", &mut policy.only_idempotent, *only_idempotent);
    merge.set("retry.honour_pushback", &mut policy.honour_pushback, *honour_pushback);
    merge.duration("retry.max_pushback", *max_pushback, &mut policy.max_pushback);
}

/// A ratio says something of plus-minus only; beside another jitter it waits for its time.
fn read_jitter(merge: &mut Merge, number: i32, ratio: Option<f64>, base: Jitter) -> Jitter {
    let named = match merge.enumeration("retry.jitter", number) {
        None | Some(v1::Jitter::Unspecified) => None,
        Some(v1::Jitter::None) => Some(Jitter::None),
        Some(v1::Jitter::PlusMinus) if matches!(base, Jitter::PlusMinus(_)) => Some(base),
        Some(v1::Jitter::PlusMinus) => Some(Jitter::PlusMinus(DEFAULT_JITTER_RATIO)),
        Some(v1::Jitter::Equal) => Some(Jitter::Equal),
        Some(v1::Jitter::Full) => Some(Jitter::Full),
    };
    let mut jitter = base;
    merge.set("retry.jitter", &mut jitter, named);
    match (jitter, ratio) {
        (Jitter::PlusMinus(_), Some(ratio)) => {
            merge.note("retry.jitter_ratio", Word::Written);
            Jitter::PlusMinus(ratio)
        }
        _ => {
            merge.inert_ratio("retry.jitter_ratio", ratio);
            jitter
        }
    }
}

fn read_budget(merge: &mut Merge, written: v1::RetryBudget, policy: &mut BudgetPolicy) {
    let v1::RetryBudget { ratio, min_per_second, ttl } = written;
    merge.set("retry.budget.ratio", &mut policy.ratio, ratio);
    merge.set("retry.budget.min_per_second", &mut policy.min_per_second, min_per_second);
    merge.duration("retry.budget.ttl", ttl, &mut policy.ttl);
}
