use super::{CROWD, Part, check, crowd, race, shared};
use crate::breaker::{Admission, Breaker, Recorded, State, Transition};
use crate::outcome::Outcome;
use crate::policy::{BreakerPolicy, BreakerWindow, LeaseExpiry, TimeWindow};
use crate::time::Timestamp;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// Trips at the first failure.
fn quick() -> BreakerPolicy {
    BreakerPolicy {
        consecutive_failures: 1,
        failure_rate: 0.0,
        open_duration: 30 * SECOND,
        open_jitter_ratio: 0.0,
        success_threshold: 1,
        ..BreakerPolicy::default()
    }
}

/// Trips at so many failures in a window.
fn counting(window: BreakerWindow, failure_count: u32) -> BreakerPolicy {
    BreakerPolicy { window, failure_count, minimum_calls: 0, consecutive_failures: 0, ..quick() }
}

/// A breaker, its policy, and what calls do with them.
#[derive(Clone, Copy)]
struct Bench {
    breaker: &'static Breaker,
    policy: &'static BreakerPolicy,
}

impl Bench {
    fn new(policy: BreakerPolicy) -> Self {
        Self { breaker: shared(Breaker::new(&policy)), policy: shared(policy) }
    }

    fn admit(self, now: Timestamp) -> (Option<Admission<'static>>, Option<Transition>) {
        match self.breaker.admit(self.policy, now, || 0) {
            Ok(admitted) => (Some(admitted.admission), admitted.transition),
            Err(rejected) => (None, rejected.transition),
        }
    }

    fn record(self, admission: Admission<'_>, outcome: Outcome, now: Timestamp) -> Recorded {
        admission.record(self.policy, outcome, Duration::ZERO, now, || 0)
    }

    /// Makes a call, where it is admitted, and counts the transitions.
    fn call(self, outcome: Outcome, now: Timestamp) -> usize {
        let (admission, transition) = self.admit(now);
        let recorded = admission.and_then(|admission| self.record(admission, outcome, now).transition);
        usize::from(transition.is_some()) + usize::from(recorded.is_some())
    }

    fn state(self, now: Timestamp) -> State {
        self.breaker.state(now)
    }

    /// The same, opened at a time; the first generation ends.
    fn opened(self, now: Timestamp) -> Self {
        while self.state(now) == State::Closed {
            self.call(Outcome::Failure, now);
        }
        self
    }
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/674>,
/// <https://github.com/App-vNext/Polly/issues/218>.
#[test]
fn t13_racing_failures_make_one_transition() {
    check(|| {
        let bench = Bench::new(quick());
        let transitions = crowd(CROWD, move |_| bench.call(Outcome::Failure, at(1)));
        assert_eq!((transitions.iter().sum::<usize>(), bench.state(at(1))), (1, State::Open));
    });
}

/// Each adds its failure and then takes the sum; whatever the order, one of those that together reach the threshold sees
/// them all.
fn trips_once(window: BreakerWindow, times: [Timestamp; 2]) {
    check(move || {
        let bench = Bench::new(counting(window, CROWD as u32));
        let transitions = crowd(CROWD, move |number| bench.call(Outcome::Failure, times[number % 2]));
        assert_eq!((transitions.iter().sum::<usize>(), bench.state(times[1])), (1, State::Open));
    });
}

#[test]
fn failures_that_reach_the_threshold_together_trip() {
    let window = TimeWindow { length: 2 * SECOND, buckets: 2 };
    trips_once(BreakerWindow::Time(window), [at(1), at(1)]);
}

#[test]
fn failures_on_both_sides_of_a_tick_that_reach_the_threshold_together_trip() {
    let window = TimeWindow { length: 2 * SECOND, buckets: 2 };
    trips_once(BreakerWindow::Time(window), [at(1), at(2)]);
}

#[test]
fn failures_that_reach_the_threshold_together_trip_by_a_window_of_calls() {
    trips_once(BreakerWindow::Count(8), [at(1), at(1)]);
}

/// Successes and failures at once are all counted, each once; and the calls after them push them out of a window of calls.
#[test]
fn results_of_both_kinds_at_once_are_all_counted_once() {
    let of_time = BreakerWindow::Time(TimeWindow { length: 2 * SECOND, buckets: 2 });
    for window in [of_time, BreakerWindow::Count(1), BreakerWindow::Count(2)] {
        check(move || {
            let bench = Bench::new(counting(window, 100));
            let succeeds = |number: usize| number.is_multiple_of(3);
            crowd(CROWD, move |number| {
                bench.call(if succeeds(number) { Outcome::Success } else { Outcome::Failure }, at(1))
            });
            let (successes, failures) = bench.breaker.window_counts(at(1));
            if let BreakerWindow::Count(size) = window {
                assert_eq!(successes + failures, u64::from(size));
                for _ in 0..size {
                    bench.call(Outcome::Success, at(1));
                }
                assert_eq!(bench.breaker.window_counts(at(1)), (u64::from(size), 0));
            } else {
                let expected = (0..CROWD).filter(|number| succeeds(*number)).count() as u64;
                assert_eq!((successes, failures), (expected, CROWD as u64 - expected));
            }
        });
    }
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/1432>,
/// <https://github.com/App-vNext/Polly/issues/216>, <https://github.com/antflydb/termite/issues/27>.
#[test]
fn t07_at_the_open_deadline_exactly_the_cap_is_admitted() {
    for cap in [1, 2] {
        check(move || {
            let bench = Bench::new(BreakerPolicy { success_threshold: cap, ..quick() }).opened(at(1));
            let admitted = crowd(CROWD, move |_| bench.admit(at(31)));
            let probes = admitted.iter().filter(|(admission, _)| admission.is_some()).count();
            let transitions = admitted.iter().filter(|(_, transition)| transition.is_some()).count();
            assert_eq!((probes, transitions), (cap as usize, 1));
        });
    }
}

/// One probe succeeds, which closes, and one fails, which opens: whoever is first decides, and the other is late.
#[test]
fn probes_that_end_against_each_other_make_one_transition() {
    check(|| {
        let bench = Bench::new(BreakerPolicy { success_threshold: 1, half_open_max_in_flight: 2, ..quick() });
        // Two probes at once, and one success that closes: the threshold was lowered under them.
        let wide: &BreakerPolicy = shared(BreakerPolicy { success_threshold: 2, ..bench.policy.clone() });
        let bench = bench.opened(at(1));
        let probe = || bench.breaker.admit(wide, at(31), || 0).unwrap().admission;
        let (first, second) = (probe(), probe());
        let parts: [Part<Recorded>; 2] = [
            Box::new(move || bench.record(first, Outcome::Success, at(32))),
            Box::new(move || bench.record(second, Outcome::Failure, at(32))),
        ];
        let recorded = race(parts);
        assert_eq!(recorded.iter().filter(|recorded| recorded.transition.is_some()).count(), 1);
        assert_eq!(recorded.iter().filter(|recorded| recorded.is_stale).count(), 1);
        let is_first = recorded[0].transition.is_some();
        assert_eq!(bench.state(at(32)), if is_first { State::Closed } else { State::Open });
    });
}

/// Whichever of two calls is the last of a window of one: the one that failed has decided when it counted. It once looked
/// at the window again, in which the other had taken its place.
#[test]
fn a_failure_decides_by_the_window_of_calls_that_it_completed() {
    check(|| {
        let bench = Bench::new(counting(BreakerWindow::Count(1), 1));
        let parts: [Part<usize>; 2] = [
            Box::new(move || bench.call(Outcome::Failure, at(1))),
            Box::new(move || bench.call(Outcome::Success, at(1))),
        ];
        assert_eq!((race(parts).iter().sum::<usize>(), bench.state(at(1))), (1, State::Open));
    });
}

/// The results of calls that a closed breaker admitted arrive while another caller finds the open time over.
///
/// Seen in <https://github.com/App-vNext/Polly/issues/217>, <https://github.com/Netflix/Hystrix/issues/1350>.
#[test]
fn t09_late_results_change_nothing_whenever_they_arrive() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Neutral] {
        check(move || {
            let bench = Bench::new(quick());
            let late = bench.admit(at(1)).0.unwrap();
            let bench = bench.opened(at(1));
            let parts: [Part<bool>; 2] = [
                Box::new(move || {
                    let recorded = bench.record(late, outcome, at(31));
                    assert_eq!(recorded.transition, None);
                    recorded.is_stale
                }),
                Box::new(move || {
                    let probe = bench.admit(at(31)).0.unwrap();
                    // Neither gives the late result another probe's slot back, nor does it take one.
                    let is_only_one = bench.admit(at(31)).0.is_none();
                    let closes = bench.record(probe, Outcome::Success, at(31)).transition.is_some();
                    is_only_one && closes
                }),
            ];
            assert_eq!(race(parts), [outcome != Outcome::Neutral, true]);
            assert_eq!((bench.state(at(31)), bench.breaker.window_counts(at(31))), (State::Closed, (0, 0)));
        });
    }
}

/// A success of a call that the first closed generation admitted, while the breaker opens, recovers and counts again.
///
/// Seen in <https://github.com/App-vNext/Polly/issues/217>.
#[test]
fn t09_a_result_that_is_late_by_an_outage_is_not_in_the_new_window() {
    for window in [BreakerWindow::default(), BreakerWindow::Count(2)] {
        check(move || {
            let bench = Bench::new(BreakerPolicy { window, ..quick() });
            let late = bench.admit(at(1)).0.unwrap();
            let parts: [Part<()>; 2] = [
                Box::new(move || {
                    bench.record(late, Outcome::Success, at(1));
                }),
                Box::new(move || {
                    assert_eq!(bench.call(Outcome::Failure, at(1)), 1);
                    assert_eq!(bench.call(Outcome::Success, at(31)), 2);
                    assert_eq!(bench.call(Outcome::Success, at(31)), 0);
                }),
            ];
            race(parts);
            assert_eq!(bench.breaker.window_counts(at(31)), (1, 0));
        });
    }
}

/// The breaker has opened and closed before, so that the cells which times count from hold older ones: they would let
/// the next caller through at once.
///
/// Seen in <https://github.com/alibaba/Sentinel/blob/dae4621e6e41576fb6133b01426a721ae3a9260e/sentinel-core/src/main/java/com/alibaba/csp/sentinel/slots/block/degrade/circuitbreaker/AbstractCircuitBreaker.java>.
#[test]
fn t11_nobody_sees_a_new_state_with_an_old_deadline() {
    check(|| {
        let bench = Bench::new(quick()).opened(at(1));
        bench.call(Outcome::Success, at(31));
        assert_eq!(bench.state(at(31)), State::Closed);
        let parts: [Part<()>; 3] = [
            Box::new(move || assert_eq!(bench.call(Outcome::Failure, at(100)), 1)),
            Box::new(move || assert!(bench.admit(at(101)).0.is_none_or(|admission| !admission.is_probe()))),
            Box::new(move || {
                if let Some(rejected) = bench.breaker.would_reject(at(101)) {
                    assert_eq!(rejected.retry_after, Some(29 * SECOND));
                }
                assert_ne!(bench.state(at(101)), State::HalfOpen);
            }),
        ];
        race(parts);
    });
}

/// A probe is given back while its lease ends: however that goes, the breaker admits the next one.
///
/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>.
#[test]
fn t03_a_probe_that_is_dropped_as_its_lease_ends_leaves_a_slot() {
    for expiry in [LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close] {
        check(move || {
            let bench = Bench::new(BreakerPolicy { on_lease_expiry: expiry, ..quick() }).opened(at(1));
            let probe = bench.admit(at(31)).0.unwrap();
            let parts: [Part<()>; 2] = [Box::new(move || drop(probe)), Box::new(move || drop(bench.admit(at(61))))];
            race(parts);
            assert!(bench.admit(at(91)).0.is_some());
        });
    }
}

/// A shorter open time comes into force while the breaker opens, and while it ends.
///
/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>, <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_a_policy_that_comes_while_the_state_changes_loses_no_transition() {
    check(|| {
        let bench = Bench::new(quick());
        let shorter: &BreakerPolicy = shared(BreakerPolicy { open_duration: 10 * SECOND, ..quick() });
        let parts: [Part<usize>; 2] = [
            Box::new(move || bench.call(Outcome::Failure, at(1))),
            Box::new(move || {
                bench.breaker.reconfigure(shorter);
                0
            }),
        ];
        assert_eq!(race(parts), [1, 0]);
        bench.breaker.reconfigure(shorter);
        assert_eq!((bench.state(at(10)), bench.state(at(11))), (State::Open, State::HalfOpen));
    });
}

/// Two open the breaker at different times by their clocks. Whoever of them is paused must not set the deadline back under
/// the eyes of a third.
#[test]
fn no_deadline_is_ever_set_back() {
    check(|| {
        let bench = Bench::new(quick());
        let parts: [Part<()>; 3] = [
            Box::new(move || {
                bench.call(Outcome::Failure, at(100));
            }),
            Box::new(move || {
                bench.call(Outcome::Failure, at(90));
            }),
            Box::new(move || {
                let left = || bench.breaker.would_reject(at(115)).and_then(|rejected| rejected.retry_after);
                let (first, second) = (left(), left());
                assert!(first <= second, "{first:?}, then {second:?}");
            }),
        ];
        race(parts);
    });
}

/// A probe that was written off is dropped as a fresh round of one has begun.
///
/// Seen in <https://github.com/failsafe-lib/failsafe/issues/391>, <https://github.com/dsx-ai-factory/nv-redfish/issues/211>.
#[test]
fn t10_a_probe_of_the_last_round_frees_no_slot_of_this_one() {
    check(|| {
        let bench = Bench::new(quick()).opened(at(1));
        let late = bench.admit(at(31)).0.unwrap();
        let parts: [Part<()>; 2] = [
            Box::new(move || drop(late)),
            Box::new(move || {
                let probe = bench.admit(at(61)).0;
                assert!(probe.as_ref().is_some_and(Admission::is_probe));
                assert!(bench.admit(at(61)).0.is_none());
            }),
        ];
        race(parts);
    });
}

/// A trip that loses against a reset has written a time by then, which is not that of a close.
#[test]
fn a_trip_that_a_reset_forestalls_leaves_no_ramp_behind() {
    check(|| {
        let bench = Bench::new(BreakerPolicy { ramp_duration: 10 * SECOND, ..quick() });
        let parts: [Part<usize>; 2] = [
            Box::new(move || bench.call(Outcome::Failure, at(1))),
            Box::new(move || usize::from(bench.breaker.reset(at(2)).is_some())),
        ];
        // Both or neither: the reset came after the trip and closed the breaker, or it came first and left it closed.
        let moves = race(parts);
        let ramps = bench.breaker.ramp(bench.policy, at(2), || u64::MAX).is_err();
        assert_eq!(ramps, moves == [1, 1], "{moves:?}");
    });
}
