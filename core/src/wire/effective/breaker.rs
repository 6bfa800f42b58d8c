use super::super::faults::{Faults, set};
use super::super::orders::wall_time_from_wire;
use crate::policy::limits::MAX_DURATION;
use crate::policy::{BreakerMode, BreakerPolicy, BreakerWindow, LeaseExpiry, TimeWindow};
use crate::time::WallTime;
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;

pub(super) fn read(faults: &mut Faults, written: &v1::CircuitBreakerPolicy, policy: &mut BreakerPolicy) {
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
        Some(Window::TimeWindow(written)) => time_window(faults, *written, &mut policy.window),
        Some(Window::CountWindow(v1::CountWindow { size })) => policy.window = BreakerWindow::Count(*size),
        None => {}
    }
    set(&mut policy.minimum_calls, *minimum_calls);
    set(&mut policy.consecutive_failures, *consecutive_failures);
    set(&mut policy.failure_count, *failure_count);
    set(&mut policy.failure_rate, *failure_rate);
    faults.duration("circuit_breaker.slow_call_duration", *slow_call_duration, &mut policy.slow_call_duration);
    set(&mut policy.slow_call_rate, *slow_call_rate);
    faults.duration("circuit_breaker.open_duration", *open_duration, &mut policy.open_duration);
    set(&mut policy.open_backoff_multiplier, *open_backoff_multiplier);
    if max_open_duration.is_none() && policy.open_duration <= MAX_DURATION {
        policy.max_open_duration = policy.max_open_duration.max(policy.open_duration);
    }
    faults.duration("circuit_breaker.max_open_duration", *max_open_duration, &mut policy.max_open_duration);
    set(&mut policy.open_jitter_ratio, *open_jitter_ratio);
    set(&mut policy.half_open_max_in_flight, *half_open_max_in_flight);
    set(&mut policy.success_threshold, *success_threshold);
    set(&mut policy.half_open_allowed_failures, *half_open_allowed_failures);
    faults.duration("circuit_breaker.half_open_lease", *half_open_lease, &mut policy.half_open_lease);
    set(&mut policy.on_lease_expiry, lease_expiry(faults, *on_lease_expiry));
    faults.duration("circuit_breaker.ramp_duration", *ramp_duration, &mut policy.ramp_duration);
    set(&mut policy.ramp_min_ratio, *ramp_min_ratio);
    set(&mut policy.mode, breaker_mode(faults, *mode));
    set(&mut policy.mode_until, wall_time(faults, "circuit_breaker.mode_until", *mode_until).map(Some));
}

fn time_window(faults: &mut Faults, written: v1::TimeWindow, policy: &mut BreakerWindow) {
    let mut window = match *policy {
        BreakerWindow::Time(window) => window,
        BreakerWindow::Count(_) => TimeWindow::default(),
    };
    let v1::TimeWindow { length, buckets } = written;
    faults.duration("circuit_breaker.time_window.length", length, &mut window.length);
    if buckets > 0 {
        window.buckets = buckets;
    }
    *policy = BreakerWindow::Time(window);
}

fn wall_time(faults: &mut Faults, path: &str, written: Option<prost_types::Timestamp>) -> Option<WallTime> {
    wall_time_from_wire(written?).map_err(|fault| faults.invalid(path, fault)).ok()
}

fn lease_expiry(faults: &mut Faults, number: i32) -> Option<LeaseExpiry> {
    match faults.enumeration("circuit_breaker.on_lease_expiry", number)? {
        v1::LeaseExpiry::Unspecified => None,
        v1::LeaseExpiry::Reprobe => Some(LeaseExpiry::Reprobe),
        v1::LeaseExpiry::Open => Some(LeaseExpiry::Open),
        v1::LeaseExpiry::Close => Some(LeaseExpiry::Close),
    }
}

fn breaker_mode(faults: &mut Faults, number: i32) -> Option<BreakerMode> {
    match faults.enumeration("circuit_breaker.mode", number)? {
        v1::BreakerMode::Unspecified => None,
        v1::BreakerMode::Auto => Some(BreakerMode::Auto),
        v1::BreakerMode::ForcedOpen => Some(BreakerMode::ForcedOpen),
        v1::BreakerMode::Disabled => Some(BreakerMode::Disabled),
        v1::BreakerMode::MetricsOnly => Some(BreakerMode::MetricsOnly),
    }
}
