//! Everything at once, on real threads: calls that succeed, fail, say nothing, panic, run out of time and are dropped at
//! any point, while policies change under them. Whatever the order was, in the end all permits are back, all counts add
//! up, and each transition was told once.

use crate::breaker::{State, Transition};
use crate::call::{Attempt, CallOptions, Context, FailureCause, Operation, Verdict, execute};
use crate::isolation::{Isolation, Observer, Part};
use crate::level::Level;
use crate::outcome::Outcome;
use crate::policy::{
    BreakerMode, BreakerPolicy, BreakerWindow, BudgetPolicy, BulkheadPolicy, LeaseExpiry, Policy, PolicySpec,
    RetryPolicy, TimeoutPolicy,
};
use crate::runtime::Runtime;
use crate::time::{Clocks, Timestamp};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as PollContext, Poll, Waker};
use std::time::Duration;

const THREADS: u64 = 4;
const STEPS: usize = 12_000;
/// The most calls at once that any of the policies allows.
const MOST: u32 = 5;
const MILLISECOND: Duration = Duration::from_millis(1);

/// A clock that the threads move, and a service that counts who is there.
#[derive(Default)]
struct World {
    /// How long probes may be out. Where it never ends, none may be lost.
    lease: Duration,
    nanos: AtomicU64,
    running: AtomicU64,
    /// The most that ran at once.
    most: AtomicU64,
    attempts: AtomicU64,
    transitions: Mutex<HashMap<(State, State), i64>>,
}

impl Runtime for World {
    type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(SeqCst))
    }

    /// Over after a few polls: time that passes is no more than another order of events here.
    fn sleep(&self, _: Duration) -> Self::Sleep {
        Box::pin(polled(self.random() % 12))
    }

    fn random(&self) -> u64 {
        next(&mut self.nanos.load(SeqCst))
    }
}

impl Observer for World {
    fn transition(&self, _: &Part, transition: &Transition) {
        *self.transitions.lock().unwrap().entry((transition.from, transition.to)).or_default() += 1;
    }
}

/// A call, and how it ends.
struct Call<'a> {
    world: &'a World,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// In any way, after a few polls.
    Any {
        random: u64,
    },
    Well,
    Never,
}

/// Counts a caller for as long as it is there.
struct There<'a>(&'a AtomicU64);

impl Drop for There<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl<'a> Operation for Call<'a> {
    type Output = ();
    type Error = u64;

    fn attempt(&mut self, _: Attempt) -> impl Future<Output = Result<(), u64>> + Send + use<'a> {
        let (world, end) = (self.world, self.end);
        if let End::Any { random } = &mut self.end {
            next(random);
        }
        async move {
            world.attempts.fetch_add(1, SeqCst);
            let running = world.running.fetch_add(1, SeqCst) + 1;
            world.most.fetch_max(running, SeqCst);
            let _there = There(&world.running);
            let random = match end {
                End::Any { mut random } => next(&mut random),
                End::Well => return Ok(()),
                End::Never => return std::future::pending().await,
            };
            polled(random >> 8 & 7).await;
            match random >> 16 & 15 {
                0 => resume_unwind(Box::new("the service's client panics")),
                1..=6 => Err(random >> 20 & 3),
                8 => std::future::pending().await,
                _ => Ok(()),
            }
        }
    }

    fn classify(&self, result: Result<&(), &u64>, _: Context<'_>) -> Verdict {
        let outcome = match result {
            Ok(()) => Outcome::Success,
            Err(0) => Outcome::Neutral,
            Err(_) => Outcome::Failure,
        };
        Verdict {
            outcome,
            is_retryable: outcome == Outcome::Failure,
            may_have_reached: true,
            is_overload: false,
            pushback: None,
        }
    }
}

/// All at level full, so that every call needs a place, and with one budget, of which nothing expires in a run.
fn policy(number: u64, lease: Duration) -> Policy {
    let breaker = BreakerPolicy {
        window: if number & 8 == 0 { BreakerWindow::default() } else { BreakerWindow::Count(16) },
        consecutive_failures: 3 + (number & 3) as u32,
        open_duration: MILLISECOND,
        half_open_lease: lease,
        on_lease_expiry: [LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close][number as usize % 3],
        ..BreakerPolicy::default()
    };
    let bulkhead = BulkheadPolicy {
        max_concurrent: 2 + (number & 3) as u32,
        max_queue: (number >> 2 & 3) as u32,
        max_wait: MILLISECOND,
        pools: Vec::new(),
    };
    let budget = BudgetPolicy { ratio: 0.05, min_per_second: 0, ttl: Duration::from_secs(60) };
    let retry = RetryPolicy { initial_backoff: Duration::from_micros(3), budget, ..RetryPolicy::default() };
    let timeout = TimeoutPolicy { min_attempt_budget: Duration::ZERO, ..TimeoutPolicy::default() };
    Policy::new(PolicySpec { level: Level::Full, breaker, bulkhead, retry, timeout, ..PolicySpec::default() }).unwrap()
}

/// Over after so many polls.
fn polled(mut polls: u64) -> impl Future<Output = ()> + Send {
    poll_fn(move |_| {
        polls = polls.saturating_sub(1);
        if polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut PollContext::from_waker(Waker::noop()))
}

fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random ^ *random >> 29
}

const OPTIONS: CallOptions<'static> = CallOptions {
    method: "get",
    pool: None,
    is_idempotent: true,
    timeout: None,
    cache_key: None,
    cache_fields: &[],
    is_alternative: false,
};

/// A thread's part: it begins calls, polls them, drops them, lets time pass and changes the policy. Returns how many
/// calls it began.
fn play(world: &World, isolation: &Isolation, mut random: u64) -> u64 {
    let mut calls: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::new();
    let mut begun = 0;
    for _ in 0..STEPS {
        let step = next(&mut random);
        let mut which = (step >> 16) as usize % calls.len().max(1);
        match step & 31 {
            0..=7 if calls.len() < 8 => {
                let mut call = Call { world, end: End::Any { random: step } };
                calls.push(Box::pin(async move {
                    let _ = execute(isolation, world, &mut call, &OPTIONS).await;
                }));
                which = calls.len() - 1;
                begun += 1;
            }
            8 | 9 if !calls.is_empty() => {
                drop(calls.swap_remove(which));
                continue;
            }
            10 => isolation.apply(policy(step >> 32, world.lease), None, true, Clocks::default()),
            11..=13 => {
                world.nanos.fetch_add(step >> 8 & 0xf_ffff, SeqCst);
            }
            _ => {}
        }
        // A call that was begun is polled at once: before that, it is none.
        if let Some(call) = calls.get_mut(which)
            && !matches!(catch_unwind(AssertUnwindSafe(|| poll_once(call.as_mut()))), Ok(Poll::Pending))
        {
            drop(calls.swap_remove(which));
        }
    }
    begun
}

#[test]
fn nothing_is_lost_however_calls_end_and_policies_change() {
    for (seed, lease) in [MILLISECOND, MILLISECOND, Duration::from_secs(3600)].into_iter().enumerate() {
        let world = Arc::new(World { lease, nanos: AtomicU64::new(1_000_000_000), ..World::default() });
        let isolation = Isolation::new(policy(0, lease), None, Clocks::default(), Arc::clone(&world) as _);
        let begun: u64 = std::thread::scope(|scope| {
            let (world, isolation) = (&*world, &isolation);
            let play = |thread| move || play(world, isolation, seed as u64 * THREADS + thread);
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(play(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });

        let counters = isolation.counters();
        assert_eq!((counters.calls, world.running.load(SeqCst)), (begun, 0));
        assert!((2..=u64::from(MOST)).contains(&world.most.load(SeqCst)));
        assert_eq!(counters.calls, counters.served_live + counters.failed + counters.cancelled);
        let ended = counters.attempt_successes + counters.attempt_failures + counters.attempt_neutrals;
        assert_eq!((counters.attempts, ended), (world.attempts.load(SeqCst), counters.attempts));
        assert!(counters.retries * 20 <= counters.calls, "the budget is a twentieth: {counters:?}");
        transitions_lead_to(isolation.breaker_state(world.now()).unwrap(), &world);
        every_place_is_free(&isolation, &world);
        it_recovers(&isolation, &world);
        let rare = [counters.breaker_opened, counters.stale_results, counters.retries];
        let rarer = [counters.rejected_bulkhead, counters.timeouts, counters.cancelled, counters.attempt_neutrals];
        assert!(rare.into_iter().chain(rarer).all(|count| count > 20), "not everything happened: {counters:?}");
    }
}

/// Each transition leaves the state that another one has led to; one that was told twice, or never, would not.
fn transitions_lead_to(last: State, world: &World) {
    let told = world.transitions.lock().unwrap();
    let is_in = |state: State| {
        let arrived: i64 = told.iter().filter(|((_, to), _)| *to == state).map(|(_, count)| count).sum();
        let left: i64 = told.iter().filter(|((from, _), _)| *from == state).map(|(_, count)| count).sum();
        i64::from(state == State::Closed) + arrived - left
    };
    let states = [State::Closed, State::Open, State::HalfOpen].map(is_in);
    let expected = match last {
        State::Closed => [1, 0, 0],
        // One whose time is over looks half-open before a call makes it so.
        State::HalfOpen if states == [0, 1, 0] => states,
        State::HalfOpen => [0, 0, 1],
        State::Open => [0, 1, 0],
    };
    assert_eq!(states, expected, "{told:?}");
}

/// As many calls as there are places can run, and not one more.
fn every_place_is_free(isolation: &Isolation, world: &World) {
    let mut spec = PolicySpec::clone(&policy(u64::from(MOST - 2), world.lease));
    (spec.bulkhead.max_queue, spec.breaker.mode) = (0, BreakerMode::Disabled);
    spec.timeout.call_timeout = Duration::ZERO;
    isolation.apply(Policy::new(spec).unwrap(), None, true, Clocks::default());
    let mut hanging: Vec<_> = (0..MOST).map(|_| Call { world, end: End::Never }).collect();
    let mut hanging: Vec<_> =
        hanging.iter_mut().map(|call| Box::pin(execute(isolation, world, call, &OPTIONS))).collect();
    assert!(hanging.iter_mut().all(|call| poll_once(call.as_mut()).is_pending()));
    let mut one_more = Call { world, end: End::Well };
    let ended = poll_once(std::pin::pin!(execute(isolation, world, &mut one_more, &OPTIONS)));
    assert!(matches!(ended, Poll::Ready(Err(failure)) if failure.cause == FailureCause::BulkheadFull));
}

/// Whatever state the breaker was left in, calls that succeed close it.
fn it_recovers(isolation: &Isolation, world: &World) {
    isolation.apply(policy(0, world.lease), None, true, Clocks::default());
    for _ in 0..4 {
        world.nanos.fetch_add(10_000_000, SeqCst);
        let mut call = Call { world, end: End::Well };
        let ended = poll_once(std::pin::pin!(execute(isolation, world, &mut call, &OPTIONS)));
        assert!(matches!(ended, Poll::Ready(Ok(_))), "let through, for a lease or an open time is over");
    }
    assert_eq!(isolation.breaker_state(world.now()), Some(State::Closed));
}
