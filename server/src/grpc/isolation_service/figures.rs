//! What happened to calls, in the figures that an operator asks for.

use std::{collections::BTreeMap, time::Duration};

use cofferdam_core::{
    latency::SparseLatency,
    stats::CounterSnapshot,
    wire::{counters_to_wire, duration_to_wire},
};
use cofferdam_proto::v1;

use crate::activity::Activity;

/// A whole, in basis points.
const WHOLE: u128 = 10_000;

/// What happened in a period.
pub(super) fn of(activity: &Activity, period: Duration) -> v1::CallStats {
    let counters = &activity.counters;
    let per_second = |count: u64| {
        let seconds = period.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    };
    let judged = counters.attempt_successes.saturating_add(counters.attempt_failures);
    v1::CallStats {
        period: Some(duration_to_wire(period)),
        counters: Some(counters_to_wire(counters)),
        calls_per_second: per_second(counters.calls),
        attempts_per_second: per_second(counters.attempts),
        error_bp: share(counters.failed, counters.calls.saturating_sub(counters.cancelled)),
        attempt_error_bp: share(counters.attempt_failures, judged),
        retry_bp: share(counters.retries, counters.attempts),
        served: served(counters),
        rejected: rejected(counters),
        call_latency: latency(&activity.latencies.calls),
        attempt_latency: latency(&activity.latencies.attempts),
    }
}

fn served(counters: &CounterSnapshot) -> Option<v1::ServedShares> {
    let of_calls = |count| share(count, counters.calls);
    Some(v1::ServedShares {
        live_bp: of_calls(counters.served_live)?,
        cached_bp: of_calls(counters.served_cached)?,
        static_bp: of_calls(counters.served_static)?,
        alternative_bp: of_calls(counters.served_alternative)?,
        degraded_bp: of_calls(counters.served_degraded)?,
        failed_bp: of_calls(counters.failed)?,
        cancelled_bp: of_calls(counters.cancelled)?,
    })
}

fn rejected(counters: &CounterSnapshot) -> BTreeMap<String, u64> {
    let reasons = [
        ("open", counters.rejected_open),
        ("bulkhead", counters.rejected_bulkhead),
        ("rate_limit", counters.rejected_rate_limit),
        ("deadline", counters.rejected_deadline),
        ("disabled", counters.rejected_disabled),
        ("adaptive_limit", counters.rejected_adaptive_limit),
    ];
    let some = reasons.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn latency(latency: &SparseLatency) -> Option<v1::LatencyStats> {
    let quantile = |share| latency.quantile(share).map(duration_to_wire);
    (!latency.is_empty()).then(|| v1::LatencyStats {
        count: latency.count(),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
    })
}

/// A share in basis points, rounded to the nearest. `None`: a share of nothing. A part that a peer claims to be more than
/// the whole is the whole.
fn share(part: u64, whole: u64) -> Option<u32> {
    let (part, whole) = (u128::from(part.min(whole)), u128::from(whole));
    let rounded = (part * WHOLE + whole / 2).checked_div(whole)?;
    u32::try_from(rounded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::latency::CallLatencySnapshot;

    #[test]
    fn each_figure_is_what_it_says() {
        let counters = CounterSnapshot {
            calls: 200,
            served_live: 100,
            served_cached: 25,
            served_static: 20,
            served_alternative: 10,
            served_degraded: 5,
            failed: 20,
            cancelled: 20,
            attempts: 150,
            attempt_successes: 100,
            attempt_failures: 40,
            attempt_neutrals: 10,
            retries: 15,
            rejected_open: 60,
            rejected_deadline: 1,
            ..CounterSnapshot::default()
        };
        let mut calls = SparseLatency::default();
        (1..=100).for_each(|millis| calls.record(Duration::from_millis(millis)));
        let latencies = CallLatencySnapshot { calls, attempts: SparseLatency::default() };
        let stats = of(&Activity { counters, latencies }, Duration::from_secs(50));
        assert_eq!((stats.calls_per_second, stats.attempts_per_second), (4.0, 3.0));
        // 20 of 180, 40 of 140, 15 of 150.
        assert_eq!((stats.error_bp, stats.attempt_error_bp, stats.retry_bp), (Some(1111), Some(2857), Some(1000)));
        let served = stats.served.unwrap();
        let shares = [served.live_bp, served.cached_bp, served.static_bp, served.alternative_bp, served.degraded_bp];
        assert_eq!(shares, [5000, 1250, 1000, 500, 250]);
        assert_eq!((served.failed_bp, served.cancelled_bp), (1000, 1000));
        assert_eq!(stats.rejected, [("open".to_owned(), 60), ("deadline".to_owned(), 1)].into());
        let latency = stats.call_latency.unwrap();
        let millis = |duration: Option<prost_types::Duration>| duration.unwrap().nanos / 1_000_000;
        assert_eq!(latency.count, 100);
        // Within a seventeenth.
        assert!((47..=53).contains(&millis(latency.p50)) && (85..=95).contains(&millis(latency.p90)), "{latency:?}");
        assert!((94..=105).contains(&millis(latency.p99)), "{latency:?}");
        assert_eq!(stats.attempt_latency, None);
    }

    #[test]
    fn there_is_no_share_of_nothing_and_none_above_the_whole() {
        let stats = of(&Activity::default(), Duration::ZERO);
        let nothing = v1::CallStats {
            period: Some(prost_types::Duration::default()),
            counters: Some(v1::CallCounters::default()),
            ..v1::CallStats::default()
        };
        assert_eq!(stats, nothing);
        assert_eq!((share(7, 5), share(1, 3), share(2, 3)), (Some(10_000), Some(3333), Some(6667)));
        assert_eq!((share(u64::MAX, u64::MAX), share(0, u64::MAX)), (Some(10_000), Some(0)));
    }
}
