//! Callers that race.

use super::*;
use std::sync::Barrier;
use std::thread;

/// Seen in <https://github.com/resilience4j/resilience4j/issues/1432>,
/// <https://github.com/resilience4j/resilience4j/issues/674>.
#[test]
fn t07_t13_racing_callers_make_one_transition_and_get_no_more_than_the_cap() {
    let policy = BreakerPolicy { success_threshold: 3, ..consecutive() };
    for _ in 0..200 {
        let breaker = Breaker::new(&policy);
        let now = Timestamp::from_millis(1);
        let opened: usize = race(8, || {
            let Ok(admitted) = breaker.admit(&policy, now, || 0) else {
                return 0;
            };
            usize::from(
                admitted.admission.record(&policy, Outcome::Failure, Duration::ZERO, now, || 0).transition.is_some(),
            )
        });
        assert_eq!(opened, 1);

        let later = now.saturating_add(Duration::from_secs(30));
        let transitions = AtomicU64::new(0);
        let admitted: usize = race(8, || match breaker.admit(&policy, later, || 0) {
            Ok(admitted) => {
                transitions.fetch_add(u64::from(admitted.transition.is_some()), Ordering::Relaxed);
                std::mem::forget(admitted.admission);
                1
            }
            Err(_) => 0,
        });
        assert_eq!((admitted, transitions.into_inner()), (3, 1));
    }
}

/// One opens the breaker while the others ask at a time at which the open time has only begun. The cells that open times
/// count from are used again and again, so that all but the first rounds find an older time in them.
///
/// Seen in <https://github.com/alibaba/Sentinel/blob/dae4621e6e41576fb6133b01426a721ae3a9260e/sentinel-core/src/main/java/com/alibaba/csp/sentinel/slots/block/degrade/circuitbreaker/AbstractCircuitBreaker.java>.
#[test]
fn t11_nobody_sees_an_open_breaker_with_the_deadline_of_the_last_time() {
    let policy = BreakerPolicy { consecutive_failures: 1, success_threshold: 1, ..consecutive() };
    let breaker = Breaker::new(&policy);
    for round in 1..=400 {
        let now = Timestamp::from_millis(round * 60_000);
        let turn = AtomicU64::new(0);
        let probes: usize = race(4, || {
            if turn.fetch_add(1, Ordering::SeqCst) == 0 {
                let admission = breaker.admit(&policy, now, || 0).unwrap().admission;
                admission.record(&policy, Outcome::Failure, Duration::ZERO, now, || 0);
                return 0;
            }
            let soon = now.saturating_add(Duration::from_millis(1));
            let asked = (0..50).filter_map(|_| breaker.admit(&policy, soon, || 0).ok());
            asked.filter(|admitted| admitted.admission.is_probe()).count()
        });
        assert_eq!((probes, breaker.state(now)), (0, State::Open));
        let later = now.saturating_add(Duration::from_secs(30));
        let probe = breaker.admit(&policy, later, || 0).unwrap().admission;
        probe.record(&policy, Outcome::Success, Duration::ZERO, later, || 0);
    }
}

fn race(threads: usize, work: impl Fn() -> usize + Sync) -> usize {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    work()
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    })
}

/// Every transition begins a generation, so as many must have been told as have begun; and in none may more probes have
/// been out at once than the cap.
///
/// Seen in <https://github.com/resilience4j/resilience4j/issues/674>,
/// <https://github.com/App-vNext/Polly/issues/218>.
#[test]
fn t13_no_transition_is_lost_and_none_is_told_twice() {
    for (expiry, round) in [LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close]
        .into_iter()
        .flat_map(|expiry| (0..10).map(move |round| (expiry, round)))
    {
        let policy = BreakerPolicy {
            consecutive_failures: 2,
            open_duration: Duration::from_millis(1),
            half_open_lease: Duration::from_millis(1),
            on_lease_expiry: expiry,
            ..BreakerPolicy::default()
        };
        let breaker = Breaker::new(&policy);
        let out_of: Vec<AtomicU64> = (0..1 << 16).map(|_| AtomicU64::new(0)).collect();
        let probes_of = |admission: &Admission<'_>| &out_of[admission.token.generation() as usize];
        let returns = |admission: &Admission<'_>| {
            if admission.is_probe() {
                probes_of(admission).fetch_sub(1, Ordering::SeqCst);
            }
        };
        let (micros, seed) = (AtomicU64::new(0), AtomicU64::new(round));
        let now = || Timestamp::from_nanos(1_000 * micros.fetch_add(400, Ordering::SeqCst));
        let told = race(4, || {
            let mut random = seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let mut told = 0;
            let mut out = Vec::new();
            for _ in 0..20_000 {
                // Xorshift: good enough to mix the steps.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random % 2 == 0 {
                    match breaker.admit(&policy, now(), || random) {
                        Ok(admitted) => {
                            told += usize::from(admitted.transition.is_some());
                            let admission = admitted.admission;
                            if admission.is_probe() {
                                let others = probes_of(&admission).fetch_add(1, Ordering::SeqCst);
                                assert!(others < u64::from(policy.max_probes()), "{others} probes are out");
                            }
                            out.push(admission);
                        }
                        Err(rejected) => told += usize::from(rejected.transition.is_some()),
                    }
                } else if let Some(admission) = out.pop() {
                    returns(&admission);
                    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Failure, Outcome::Neutral];
                    let outcome = outcomes[(random >> 32) as usize % 4];
                    let recorded = admission.record(&policy, outcome, Duration::ZERO, now(), || random);
                    told += usize::from(recorded.transition.is_some());
                }
                if random % 64 == 1 {
                    out.drain(..).for_each(std::mem::forget);
                }
                if random % 64 == 3 {
                    out.drain(..).for_each(|admission| returns(&admission));
                }
                if random % 128 == 3 {
                    breaker.reconfigure(&policy);
                }
            }
            out.into_iter().for_each(|admission| returns(&admission));
            told
        });
        assert!(told > 100, "{told} transitions are no race");
        assert_eq!(breaker.load().generation() as usize, told, "{expiry:?}");
    }
}

/// Successes, failures and changes of the policy at once, over many ticks of one window.
///
/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_no_result_is_lost_or_counted_twice() {
    const THREADS: u64 = 4;
    const CALLS: u64 = 20_000;
    for window in [BreakerWindow::default(), BreakerWindow::Count(1_024)] {
        let policy = BreakerPolicy { window, consecutive_failures: 0, ..consecutive() };
        let (breaker, clock) = (Breaker::new(&policy), AtomicU64::new(0));
        race(THREADS as usize, || {
            for number in 0..CALLS {
                // Less than a window in all.
                let now = Timestamp::from_nanos(clock.fetch_add(300_000, Ordering::SeqCst));
                let outcome = if number % 4 == 0 { Outcome::Failure } else { Outcome::Success };
                let admission = breaker.admit(&policy, now, || 0).unwrap().admission;
                assert!(!admission.record(&policy, outcome, Duration::ZERO, now, || 0).is_stale);
                if number % 100 == 0 {
                    breaker.reconfigure(&policy);
                }
            }
            0
        });
        let counts = breaker.window_counts(Timestamp::from_nanos(clock.into_inner()));
        let expected = match window {
            BreakerWindow::Time(_) => (THREADS * CALLS / 4 * 3, THREADS * CALLS / 4),
            BreakerWindow::Count(_) => (1_024 - counts.1, counts.1),
        };
        assert_eq!(counts, expected);
    }
}
