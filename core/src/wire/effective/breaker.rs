use super::super::orders::wall_time_from_wire;
use super::merge::Merge;
use crate::policy::limits::MAX_DURATION;
use crate::policy::{BreakerMode, BreakerPolicy, BreakerWindow, LeaseExpiry, TimeWindow};
use crate::time::WallTime;
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;

pub(super) fn read(merge: &mut Merge, written: &v1::CircuitBreakerPolicy, policy: &mut BreakerPolicy) {
    let v1::CircuitBreakerPolicy {
        minimum_calls,
        consecutive_failures,
        failure_count,
        failure_rate,
        slow_call_duration,
        slow_call_rate,
        open_duration,
        open_backoff_multiplier,
        max_open_duration,
        open_jitter_ratio,
        half_open_max_in_flight,
        success_threshold,
        half_open_allowed_failures,
        half_open_lease,
        on_lease_expiry,
        ramp_duration,
        ramp_min_ratio,
        mode,
        mode_until,
        window,
    } = written;
    match window {
        Some(Window::TimeWindow(written)) => time_window(merge, *written, &mut policy.window),
        Some(Window::CountWindow(v1::CountWindow { size })) => {
            merge.set("circuit_breaker.count_window.size", &mut policy.window, Some(BreakerWindow::Count(*size)));
        }
        None => {}
    }
    merge.set("circuit_breaker.minimum_calls", &mut policy.minimum_calls, *minimum_calls);
    merge.set("circuit_breaker.consecutive_failures", &mut policy.consecutive_failures, *consecutive_failures);
    merge.set("circuit_breaker.failure_count", &mut policy.failure_count, *failure_count);
    merge.set("circuit_breaker.failure_rate", &mut policy.failure_rate, *failure_rate);
    merge.duration("circuit_breaker.slow_call_duration", *slow_call_duration, &mut policy.slow_call_duration);
    merge.set("circuit_breaker.slow_call_rate", &mut policy.slow_call_rate, *slow_call_rate);
    merge.duration("circuit_breaker.open_duration", *open_duration, &mut policy.open_duration);
    merge.set("circuit_breaker.open_backoff_multiplier", &mut policy.open_backoff_multiplier, *open_backoff_multiplier);
    if max_open_duration.is_none() && policy.open_duration <= MAX_DURATION {
        let roomy = policy.max_open_duration.max(policy.open_duration);
        let (path, other) = ("circuit_breaker.max_open_duration", "circuit_breaker.open_duration");
        merge.follow(path, &mut policy.max_open_duration, roomy, other);
    }
    merge.duration("circuit_breaker.max_open_duration", *max_open_duration, &mut policy.max_open_duration);
    merge.set("circuit_breaker.open_jitter_ratio", &mut policy.open_jitter_ratio, *open_jitter_ratio);
    merge.set("circuit_breaker.half_open_max_in_flight", &mut policy.half_open_max_in_flight, *half_open_max_in_flight);
    merge.set("circuit_breaker.success_threshold", &mut policy.success_threshold, *success_threshold);
    merge.set(
        "circuit_breaker.half_open_allowed_failures",
        &mut policy.half_open_allowed_failures,
        *half_open_allowed_failures,
    );
    merge.duration("circuit_breaker.half_open_lease", *half_open_lease, &mut policy.half_open_lease);
    let expiry = lease_expiry(merge, *on_lease_expiry);
    merge.set("circuit_breaker.on_lease_expiry", &mut policy.on_lease_expiry, expiry);
    merge.duration("circuit_breaker.ramp_duration", *ramp_duration, &mut policy.ramp_duration);
    merge.set("circuit_breaker.ramp_min_ratio", &mut policy.ramp_min_ratio, *ramp_min_ratio);
    let mode = breaker_mode(merge, *mode);
    merge.set("circuit_breaker.mode", &mut policy.mode, mode);
    let until = wall_time(merge, "circuit_breaker.mode_until", *mode_until);
    merge.set("circuit_breaker.mode_until", &mut policy.mode_until, until.map(Some));
}

fn time_window(merge: &mut Merge, written: v1::TimeWindow, policy: &mut BreakerWindow) {
    let mut window = match *policy {
        BreakerWindow::Time(window) => window,
        BreakerWindow::Count(_) => TimeWindow::default(),
    };
    let v1::TimeWindow { length, buckets } = written;
    merge.duration("circuit_breaker.time_window.length", length, &mut window.length);
    let buckets = Some(buckets).filter(|buckets| *buckets > 0);
    merge.set("circuit_breaker.time_window.buckets", &mut window.buckets, buckets);
    *policy = BreakerWindow::Time(window);
}

fn wall_time(merge: &mut Merge, path: &str, written: Option<prost_types::Timestamp>) -> Option<WallTime> {
    wall_time_from_wire(written?).map_err(|fault| merge.invalid(path, fault)).ok()
}

fn lease_expiry(merge: &mut Merge, number: i32) -> Option<LeaseExpiry> {
    match merge.enumeration("circuit_breaker.on_lease_expiry", number)? {
        v1::LeaseExpiry::Unspecified => None,
        v1::LeaseExpiry::Reprobe => Some(LeaseExpiry::Reprobe),
        v1::LeaseExpiry::Open => Some(LeaseExpiry::Open),
        v1::LeaseExpiry::Close => Some(LeaseExpiry::Close),
    }
}

fn breaker_mode(merge: &mut Merge, number: i32) -> Option<BreakerMode> {
    match merge.enumeration("circuit_breaker.mode", number)? {
        v1::BreakerMode::Unspecified => None,
        v1::BreakerMode::Auto => Some(BreakerMode::Auto),
        v1::BreakerMode::ForcedOpen => Some(BreakerMode::ForcedOpen),
        v1::BreakerMode::Disabled => Some(BreakerMode::Disabled),
        v1::BreakerMode::MetricsOnly => Some(BreakerMode::MetricsOnly),
    }
}
