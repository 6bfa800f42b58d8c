//! Those who look on.

use super::*;
use crate::breaker::Transition;
use crate::hold::Target;
use crate::isolation::{Observer, Part};
use std::sync::{Mutex, OnceLock, Weak, mpsc};

/// A policy that opens with the fifth failure and retries nothing.
fn policy() -> Policy {
    let spec = PolicySpec { retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }, ..at(Level::Enhanced) };
    Policy::new(spec).unwrap()
}

async fn call(isolation: &Isolation, runtime: &Paused, reply: Reply) -> CallResult {
    execute(isolation, runtime, &mut Script::new([reply]), &idempotent()).await
}

/// Calls back into the isolation that it observes, and writes down what it sees.
#[derive(Default)]
struct Curious {
    isolation: OnceLock<Weak<Isolation>>,
    seen: Mutex<Vec<(State, Option<State>, u64)>>,
}

impl Observer for Curious {
    fn transition(&self, _: &Part, transition: &Transition) {
        let isolation = self.isolation.get().and_then(Weak::upgrade).unwrap();
        let policy = isolation.in_force().policy.clone();
        isolation.apply(policy, None, true, Clocks::default());
        isolation.release(&Target::All, transition.at);
        let state = isolation.breaker_state(transition.at);
        self.seen.lock().unwrap().push((transition.to, state, isolation.counters().breaker_opened));
    }
}

/// <https://github.com/sony/gobreaker/issues/37>, <https://github.com/danielfm/pybreaker/issues/41>: a listener that
/// asked the breaker for its state waited for the lock that it was called under.
#[tokio::test(start_paused = true)]
async fn t14_an_observer_may_call_back() {
    let observer = Arc::new(Curious::default());
    let isolation = Arc::new(Isolation::new(policy(), None, Clocks::default(), Arc::clone(&observer) as _));
    observer.isolation.set(Arc::downgrade(&isolation)).unwrap();
    let runtime = Paused(tokio::time::Instant::now());
    for _ in 0..5 {
        call(&isolation, &runtime, Reply::Code(UNAVAILABLE)).await.unwrap_err();
    }
    tokio::time::advance(30 * SECOND).await;
    for _ in 0..2 {
        call(&isolation, &runtime, Reply::Answer("probe")).await.unwrap();
    }
    isolation.trip(&Target::All, None, runtime.now(), || 0);
    isolation.reset(&Target::All, runtime.now());
    let expected = [(State::Open, 1), (State::HalfOpen, 1), (State::Closed, 1), (State::Open, 2), (State::Closed, 2)];
    assert_eq!(*observer.seen.lock().unwrap(), expected.map(|(state, opened)| (state, Some(state), opened)));
}

/// Panics at whatever it is told.
struct Broken;

impl Observer for Broken {
    fn transition(&self, _: &Part, _: &Transition) {
        panic!("a bug of the observer's");
    }
}

/// <https://github.com/sony/gobreaker/issues/119>
#[tokio::test(start_paused = true)]
async fn t14_an_observer_that_panics_fails_no_call() {
    let isolation = Isolation::new(policy(), None, Clocks::default(), Arc::new(Broken));
    let runtime = Paused(tokio::time::Instant::now());
    for _ in 0..5 {
        let failure = call(&isolation, &runtime, Reply::Code(UNAVAILABLE)).await.unwrap_err();
        assert!(matches!(failure.cause, FailureCause::Inner(_)));
    }
    tokio::time::advance(30 * SECOND).await;
    for _ in 0..2 {
        call(&isolation, &runtime, Reply::Answer("probe")).await.unwrap();
    }
    assert_eq!(isolation.breaker_state(runtime.now()), Some(State::Closed));
    assert_eq!((isolation.counters().failed, isolation.counters().served_live), (5, 2));
}

/// Says that it was told, and comes back when it may.
struct Slow {
    told: mpsc::Sender<State>,
    may_return: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Slow {
    fn transition(&self, _: &Part, transition: &Transition) {
        self.told.send(transition.to).unwrap();
        self.may_return.lock().unwrap().recv().unwrap();
    }
}

/// <https://github.com/sony/gobreaker/issues/39>
#[test]
fn t14_a_slow_observer_delays_the_call_that_tells_it_and_no_other() {
    let (told, hears) = mpsc::channel();
    let (lets_return, may_return) = mpsc::channel();
    let observer = Slow { told, may_return: Mutex::new(may_return) };
    let isolation = &Isolation::new(policy(), None, Clocks::default(), Arc::new(observer));
    let run = |reply: Reply, times| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let clock = Paused(tokio::time::Instant::now());
            for _ in 0..times {
                let _ = call(isolation, &clock, reply).await;
            }
        });
    };
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| run(Reply::Code(UNAVAILABLE), 5));
        assert_eq!(hears.recv().unwrap(), State::Open);
        run(Reply::Answer("rejected"), 100);
        assert_eq!(isolation.counters().rejected_open, 100);
        assert!(!slow.is_finished(), "it is still told");
        lets_return.send(()).unwrap();
    });
}
