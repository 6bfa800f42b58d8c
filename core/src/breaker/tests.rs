mod half_open;
mod hinted;
mod manual;
mod memory;
mod metrics_only;
mod model;
mod modes;
mod racing;
mod ramp;
mod slow;
mod waits;

use super::*;
use crate::outcome::Outcome;
use crate::policy::{BreakerWindow, LeaseExpiry, Preset, TimeWindow};

/// A breaker under test with its policy and a clock of its own.
struct Bench {
    breaker: Breaker,
    policy: BreakerPolicy,
    now: Timestamp,
}

impl Bench {
    fn new(policy: BreakerPolicy) -> Self {
        Self { breaker: Breaker::new(&policy), policy, now: Timestamp::from_millis(1_000_000) }
    }

    fn advance(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    fn admit(&self) -> Result<Admitted<'_>, Rejected> {
        self.breaker.admit(&self.policy, self.now, || 0)
    }

    fn record(&self, admission: Admission<'_>, outcome: Outcome) -> Recorded {
        admission.record(&self.policy, outcome, Duration::ZERO, self.now, || 0)
    }

    /// Makes a call that must be admitted.
    fn call(&self, outcome: Outcome) -> Option<Transition> {
        let admitted = self.admit().unwrap();
        self.record(admitted.admission, outcome).transition.or(admitted.transition)
    }

    fn calls(&self, outcome: Outcome, count: u32) -> Option<Transition> {
        (0..count).filter_map(|_| self.call(outcome)).last()
    }

    fn state(&self) -> State {
        self.breaker.state(self.now)
    }
}

fn consecutive() -> BreakerPolicy {
    BreakerPolicy { failure_rate: 0.0, open_jitter_ratio: 0.0, ..BreakerPolicy::default() }
}

fn opened() -> Bench {
    let bench = Bench::new(consecutive());
    bench.calls(Outcome::Failure, 5).unwrap();
    bench
}

fn half_open() -> Bench {
    let mut bench = opened();
    bench.advance(Duration::from_secs(30));
    bench
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/6>.
#[test]
fn t22_the_fifth_consecutive_failure_opens_and_not_the_fourth() {
    let bench = Bench::new(consecutive());
    assert_eq!(bench.calls(Outcome::Failure, 4), None);
    assert_eq!(bench.state(), State::Closed);
    let transition = bench.call(Outcome::Failure).unwrap();
    assert_eq!(
        transition,
        Transition {
            from: State::Closed,
            to: State::Open,
            cause: Cause::ConsecutiveFailures,
            at: bench.now,
            is_enforced: true,
            is_hinted: false,
        }
    );
}

/// Seen in <https://github.com/App-vNext/Polly/issues/131>.
#[test]
fn t21_a_success_starts_the_count_of_consecutive_failures_anew() {
    let bench = Bench::new(consecutive());
    for _ in 0..3 {
        assert_eq!(bench.calls(Outcome::Failure, 4), None);
        assert_eq!(bench.call(Outcome::Success), None);
    }
    assert!(bench.calls(Outcome::Failure, 5).is_some());
}

#[test]
fn two_consecutive_probe_successes_close() {
    let bench = half_open();
    assert_eq!(bench.call(Outcome::Success).unwrap().to, State::HalfOpen);
    assert_eq!(bench.state(), State::HalfOpen);
    let transition = bench.call(Outcome::Success).unwrap();
    assert_eq!((transition.to, transition.cause), (State::Closed, Cause::ProbesSucceeded));
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 0), "a close starts with an empty window");
}

#[test]
fn a_failed_probe_opens_again_for_longer_and_a_close_forgets_that() {
    let policy = BreakerPolicy {
        open_backoff_multiplier: 2.0,
        max_open_duration: Duration::from_secs(100),
        success_threshold: 1,
        ..consecutive()
    };
    let mut bench = Bench::new(policy);
    bench.calls(Outcome::Failure, 5).unwrap();
    for seconds in [30, 60, 100, 100] {
        assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(seconds)));
        bench.advance(Duration::from_secs(seconds));
        assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::ProbeFailed);
    }
    bench.advance(Duration::from_secs(100));
    assert_eq!(bench.call(Outcome::Success).unwrap().to, State::Closed);
    bench.calls(Outcome::Failure, 5).unwrap();
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(30)));
}

#[test]
fn forgiven_probe_failures_start_the_successes_anew() {
    let mut bench = Bench::new(BreakerPolicy { half_open_allowed_failures: 1, ..consecutive() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(30));
    bench.call(Outcome::Success);
    assert_eq!(bench.call(Outcome::Failure), None);
    assert_eq!(bench.call(Outcome::Success), None);
    assert_eq!(bench.call(Outcome::Success).unwrap().to, State::Closed);
}

#[test]
fn the_failure_count_waits_for_the_minimum_of_calls() {
    let database = Preset::Database.spec().breaker;
    let bench = Bench::new(database.clone());
    assert_eq!(bench.calls(Outcome::Failure, 4), None, "3 failures, but only 4 calls");
    assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::FailureCount);

    let bench = Bench::new(database);
    bench.calls(Outcome::Success, 3);
    bench.calls(Outcome::Failure, 2);
    assert_eq!(bench.state(), State::Closed, "5 calls, but only 2 failures");
    assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::FailureCount);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/6>.
#[test]
fn t22_the_failure_rate_opens_at_its_threshold_and_not_below() {
    let policy = BreakerPolicy { consecutive_failures: 0, ..BreakerPolicy::default() };
    let bench = Bench::new(policy);
    bench.calls(Outcome::Success, 10);
    assert_eq!(bench.calls(Outcome::Failure, 9), None, "9 of 19");
    assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::FailureRate, "10 of 20");
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/6>.
#[test]
fn t22_a_failure_rate_that_no_binary_fraction_is_opens_at_its_threshold() {
    let bench = Bench::new(BreakerPolicy { consecutive_failures: 0, failure_rate: 0.55, ..BreakerPolicy::default() });
    bench.calls(Outcome::Success, 45);
    assert_eq!(bench.calls(Outcome::Failure, 54), None, "54 of 99");
    assert!(bench.call(Outcome::Failure).is_some(), "55 of 100");
}

/// Peers count in whole percents: none of them may open a call early or late, however many calls there are.
#[test]
fn every_percentage_of_any_number_of_calls_is_reached_exactly() {
    for percent in 1..=100_u64 {
        let threshold = percent as f64 / 100.0;
        for calls in 1..=1_024 {
            let least = (percent * calls).div_ceil(100);
            assert!(super::record::reaches(least, calls, threshold), "{least} of {calls} at {percent} %");
            assert!(!super::record::reaches(least - 1, calls, threshold), "{least} - 1 of {calls} at {percent} %");
        }
    }
}

#[test]
fn a_success_never_opens() {
    let policy = BreakerPolicy { consecutive_failures: 0, failure_count: 3, minimum_calls: 5, ..consecutive() };
    let bench = Bench::new(policy);
    bench.calls(Outcome::Failure, 3);
    assert_eq!(bench.calls(Outcome::Success, 100), None);
}

/// Seen in <https://github.com/rubyist/circuitbreaker/issues/36>.
#[test]
fn t18_what_is_older_than_the_window_does_not_count() {
    let mut bench = Bench::new(Preset::Database.spec().breaker);
    bench.calls(Outcome::Success, 10);
    bench.calls(Outcome::Failure, 2);
    bench.advance(Duration::from_secs(3600));
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 0));
    bench.calls(Outcome::Success, 10);
    assert_eq!(bench.call(Outcome::Failure), None);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/2379>.
#[test]
fn t19_a_window_of_one_bucket_works() {
    let window = TimeWindow { length: Duration::from_secs(1), buckets: 1 };
    let window = BreakerWindow::Time(window);
    let policy = BreakerPolicy { window, failure_count: 2, minimum_calls: 0, consecutive_failures: 0, ..consecutive() };
    let mut bench = Bench::new(policy);
    bench.call(Outcome::Failure);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.call(Outcome::Failure), None, "the first one is out of the window");
    assert!(bench.call(Outcome::Failure).is_some());
}

/// Seen in <https://github.com/joshrotenberg/tower-resilience/blob/f0d1a3c13c4408d63a9f4f92f2b9c8c9d9788e99/crates/tower-resilience-circuitbreaker/src/circuit.rs>.
#[test]
fn t20_a_window_of_calls_forgets_what_more_calls_have_pushed_out() {
    let window = BreakerWindow::Count(4);
    let policy = BreakerPolicy { window, failure_count: 2, minimum_calls: 4, consecutive_failures: 0, ..consecutive() };
    let mut bench = Bench::new(policy);
    bench.call(Outcome::Failure);
    bench.calls(Outcome::Success, 4);
    bench.advance(Duration::from_secs(3600));
    assert_eq!(bench.breaker.window_counts(bench.now), (4, 0), "an idle hour changes nothing");
    assert_eq!(bench.call(Outcome::Failure), None);
    bench.calls(Outcome::Success, 2);
    assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::FailureCount);
}

/// Seen in <https://github.com/App-vNext/Polly/issues/217>, <https://github.com/Netflix/Hystrix/issues/1350>,
/// <https://github.com/sony/gobreaker/issues/122>.
#[test]
fn t09_late_result_of_closed_admission_is_ignored_in_half_open() {
    let bench = Bench::new(consecutive());
    let late = [bench.admit().unwrap().admission, bench.admit().unwrap().admission];
    let (later, policy) = (bench.now.saturating_add(Duration::from_secs(30)), bench.policy.clone());
    bench.calls(Outcome::Failure, 5).unwrap();
    let probe = bench.breaker.admit(&policy, later, || 0).unwrap().admission;
    let [success, failure] = late;
    assert!(success.record(&policy, Outcome::Success, Duration::ZERO, later, || 0).is_stale);
    assert!(failure.record(&policy, Outcome::Failure, Duration::ZERO, later, || 0).is_stale);
    drop(probe);
    assert_eq!(bench.breaker.state(later), State::HalfOpen);
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/391>,
/// <https://github.com/dsx-ai-factory/nv-redfish/issues/211>.
#[test]
fn t10_a_late_neutral_result_adds_no_half_open_permit() {
    let bench = Bench::new(BreakerPolicy { success_threshold: 1, ..consecutive() });
    let late = bench.admit().unwrap().admission;
    bench.calls(Outcome::Failure, 5).unwrap();
    let later = bench.now.saturating_add(Duration::from_secs(30));
    let _probe = bench.breaker.admit(&bench.policy, later, || 0).unwrap().admission;
    drop(late);
    assert!(bench.breaker.admit(&bench.policy, later, || 0).is_err());
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/544>,
/// <https://github.com/Netflix/Hystrix/issues/1621>.
#[test]
fn t01_t03_a_probe_that_is_dropped_or_neutral_gives_its_slot_back() {
    let bench = half_open();
    for _ in 0..100 {
        drop(bench.admit().unwrap());
        let admitted = bench.admit().unwrap();
        assert_eq!(bench.record(admitted.admission, Outcome::Neutral), Recorded::default());
    }
    bench.call(Outcome::Success);
    assert_eq!(bench.call(Outcome::Success).unwrap().to, State::Closed);
}

#[test]
fn no_more_probes_than_are_still_needed() {
    let bench = half_open();
    bench.call(Outcome::Success);
    let _probe = bench.admit().unwrap();
    assert_eq!(bench.admit().unwrap_err().state, State::HalfOpen, "one success is in, one probe is out, two close");
}

/// Seen in <https://github.com/diegosouzapw/OmniRoute/issues/13836>,
/// <https://github.com/resilience4j/resilience4j/issues/935>.
#[test]
fn t02_probes_that_never_return_are_written_off_when_their_lease_ends() {
    for (mode, expected) in
        [(LeaseExpiry::Reprobe, State::HalfOpen), (LeaseExpiry::Open, State::Open), (LeaseExpiry::Close, State::Closed)]
    {
        let mut bench = Bench::new(BreakerPolicy { on_lease_expiry: mode, ..consecutive() });
        bench.calls(Outcome::Failure, 5).unwrap();
        bench.advance(Duration::from_secs(30));
        for _ in 0..2 {
            std::mem::forget(bench.admit().unwrap());
        }
        assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(30)));
        bench.advance(Duration::from_millis(29_999));
        assert!(bench.admit().is_err());
        bench.advance(Duration::from_millis(1));
        let transition = match bench.admit() {
            Ok(admitted) => admitted.transition,
            Err(rejected) => rejected.transition,
        };
        let transition = transition.unwrap();
        assert_eq!((transition.from, transition.to), (State::HalfOpen, expected));
        assert_eq!(transition.cause, Cause::LeaseExpired);
        assert_eq!(bench.state(), expected);
    }
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_a_lower_success_threshold_while_half_open_asks_for_one_more_probe() {
    let mut bench = Bench::new(BreakerPolicy { success_threshold: 5, ..consecutive() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(30));
    bench.calls(Outcome::Success, 3);
    bench.policy.success_threshold = 2;
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(bench.call(Outcome::Success).unwrap().to, State::Closed);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_a_policy_change_keeps_counts_and_another_window_shape_starts_empty() {
    let mut bench = Bench::new(consecutive());
    bench.calls(Outcome::Failure, 4);
    bench.policy.consecutive_failures = 6;
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 4));
    bench.policy.window = BreakerWindow::Time(TimeWindow { buckets: 30, ..TimeWindow::default() });
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 0));
    assert_eq!(bench.call(Outcome::Failure), None);
    assert!(bench.call(Outcome::Failure).is_some(), "the sixth in a row");
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_a_trigger_that_is_turned_on_finds_what_was_counted_before() {
    let off = BreakerPolicy { consecutive_failures: 0, ..consecutive() };
    let on = [
        (BreakerPolicy { failure_count: 4, ..off }, Cause::FailureCount),
        (BreakerPolicy { failure_rate: 0.25, ..off }, Cause::FailureRate),
        (BreakerPolicy { consecutive_failures: 4, ..off }, Cause::ConsecutiveFailures),
    ];
    for (policy, cause) in on {
        let mut bench = Bench::new(off.clone());
        bench.calls(Outcome::Success, 10);
        bench.calls(Outcome::Failure, 3);
        bench.breaker.reconfigure(&policy);
        bench.policy = policy;
        assert_eq!(bench.breaker.window_counts(bench.now), (10, 3));
        assert_eq!(bench.call(Outcome::Failure).unwrap().cause, cause);
    }
}

/// A breaker that opens for a millisecond goes through 256 generations in a tenth of a second, all of one bucket.
#[test]
fn a_breaker_that_flaps_counts_nothing_of_256_generations_ago() {
    let policy = BreakerPolicy {
        window: BreakerWindow::Time(TimeWindow { length: Duration::from_secs(3600), buckets: 1 }),
        open_duration: Duration::from_millis(1),
        success_threshold: 1,
        consecutive_failures: 2,
        ..consecutive()
    };
    let mut bench = Bench { now: Timestamp::from_millis(3_600_000), ..Bench::new(policy) };
    bench.calls(Outcome::Success, 7);
    while bench.breaker.load().generation() < 3 * 256 {
        bench.calls(Outcome::Failure, 2).unwrap();
        bench.advance(Duration::from_millis(1));
        assert_eq!(bench.call(Outcome::Success).unwrap().to, State::Closed);
        assert_eq!(bench.breaker.window_counts(bench.now), (0, 0));
    }
}

#[test]
fn probes_slower_than_a_short_open_time_still_close() {
    let policy = BreakerPolicy { open_duration: Duration::from_secs(1), ..consecutive() };
    let bench = Bench::new(policy.clone());
    bench.calls(Outcome::Failure, 5).unwrap();
    let mut now = bench.now.saturating_add(Duration::from_secs(1));
    for _ in 0..2 {
        let slow = bench.breaker.admit(&policy, now, || 0).unwrap().admission;
        now = now.saturating_add(Duration::from_secs(2));
        // Others ask in the meantime; they must not write the probe off.
        drop(bench.breaker.admit(&policy, now, || 0));
        assert!(!slow.record(&policy, Outcome::Success, Duration::ZERO, now, || 0).is_stale);
    }
    assert_eq!(bench.breaker.state(now), State::Closed);
}

/// A service that is down for a day: the window of a breaker that closes after it is empty, and counts.
///
/// Seen in <https://github.com/rubyist/circuitbreaker/issues/36>.
#[test]
fn t18_an_outage_of_any_length_leaves_an_empty_window_that_counts() {
    for window in [BreakerWindow::Count(10), BreakerWindow::default()] {
        let policy =
            BreakerPolicy { window, failure_count: 3, minimum_calls: 3, success_threshold: 1, ..consecutive() };
        let mut bench = Bench::new(policy);
        for probes in 1..1_500 {
            bench.calls(Outcome::Failure, 3).unwrap();
            for outcome in (1..probes % 300).map(|_| Outcome::Failure).chain([Outcome::Success]) {
                bench.advance(Duration::from_secs(30));
                assert_eq!(bench.breaker.window_counts(bench.now), (0, 0), "{probes}");
                bench.call(outcome);
            }
            bench.calls(Outcome::Failure, 2);
            bench.call(Outcome::Success);
            assert_eq!(bench.breaker.window_counts(bench.now), (1, 2), "{probes}");
            bench.advance(Duration::from_secs(30));
            bench.calls(Outcome::Success, 10);
        }
    }
}
