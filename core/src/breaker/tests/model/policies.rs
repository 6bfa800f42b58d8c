//! Policies of every kind, with numbers that the model can work with: open times in multiples of 512 ns, ratios of
//! jitter in eighths and whole multipliers come out exactly in the engine's floating-point arithmetic and in the model's
//! whole numbers alike.

use super::super::*;
use proptest::prelude::*;
use proptest::sample::select;

/// Any policy. Small numbers, so that all triggers, caps and windows come into play.
pub(super) fn policy(is_count: bool) -> impl Strategy<Value = BreakerPolicy> {
    // Now and then the other shape, for the changes of policy within a run.
    let window = prop_oneof![7 => window(is_count), 1 => window(!is_count)];
    (mode(), window, triggers(), open(), half_open(), ramp()).prop_map(
        |(mode, window, triggers, open, half_open, ramp)| BreakerPolicy {
            mode,
            mode_until: None,
            window,
            minimum_calls: triggers.0,
            consecutive_failures: triggers.1,
            failure_count: triggers.2,
            failure_rate: triggers.3,
            slow_call_duration: triggers.4,
            slow_call_rate: triggers.5,
            open_duration: open.0,
            max_open_duration: open.0.max(open.1),
            open_backoff_multiplier: open.2,
            open_jitter_ratio: open.3,
            half_open_max_in_flight: half_open.0,
            success_threshold: half_open.1,
            half_open_allowed_failures: half_open.2,
            half_open_lease: half_open.3,
            on_lease_expiry: half_open.4,
            ramp_duration: ramp.0,
            ramp_min_ratio: ramp.1,
        },
    )
}

fn mode() -> impl Strategy<Value = BreakerMode> {
    prop_oneof![
        8 => Just(BreakerMode::Auto),
        2 => Just(BreakerMode::MetricsOnly),
        1 => Just(BreakerMode::Disabled),
        1 => Just(BreakerMode::ForcedOpen),
    ]
}

fn window(is_count: bool) -> BoxedStrategy<BreakerWindow> {
    if is_count {
        prop_oneof![(1_u32..12), Just(100), Just(1_024)].prop_map(BreakerWindow::Count).boxed()
    } else {
        let length = prop_oneof![1_000_u64..60_000, Just(30_000), Just(86_400_000)];
        let window = |(millis, buckets)| TimeWindow { length: Duration::from_millis(millis), buckets };
        (length, prop_oneof![1_u32..12, Just(60)]).prop_map(window).prop_map(BreakerWindow::Time).boxed()
    }
}

/// Minimum of calls, failures in a row, count, rate; slow calls.
fn triggers() -> impl Strategy<Value = (u32, u32, u32, f64, Duration, f64)> {
    (
        0_u32..20,
        prop_oneof![1 => Just(0), 3 => 1_u32..8],
        prop_oneof![1 => Just(0), 2 => 1_u32..20],
        select(&[0.0, 0.1, 0.3, 0.5, 0.55, 1.0][..]),
        select(&[Duration::ZERO, SLOW][..]),
        select(&[0.0, 0.25, 0.7, 1.0][..]),
    )
}

/// The latency of the calls that are slow, where any are.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// Open time, its bound, multiplier and jitter.
fn open() -> impl Strategy<Value = (Duration, Duration, f64, f64)> {
    let time = || prop_oneof![Just(1_953_125), 1_954_u64..10_000_000, 10_000_000_u64..100_000_000];
    let nanos = |time: u64| Duration::from_nanos(time * 512);
    let (multiplier, jitter) = (select(&[1.0, 2.0, 3.0, 10.0][..]), select(&[0.0, 0.125, 0.5, 1.0][..]));
    (time().prop_map(nanos), time().prop_map(nanos), multiplier, jitter)
}

/// Cap, successes, failures forgiven, lease and what comes after it.
fn half_open() -> impl Strategy<Value = (u32, u32, u32, Duration, LeaseExpiry)> {
    let lease = prop_oneof![Just(0), 1_u64..50_000].prop_map(Duration::from_millis);
    let expiry = select(&[LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close][..]);
    (0_u32..5, 1_u32..5, 0_u32..3, lease, expiry)
}

/// Durations of which no sixty-fourth is a time that a test comes by.
fn ramp() -> impl Strategy<Value = (Duration, f64)> {
    let duration = select(&[0, 9_973_000_017, 600_011_000_003][..]).prop_map(Duration::from_nanos);
    (duration, select(&[0.0, 0.1, 0.5, 1.0][..]))
}
