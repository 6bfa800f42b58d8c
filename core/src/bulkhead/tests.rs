use super::*;
use crate::tests::property;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A call that polls for a place by hand.
struct Call {
    acquire: Acquire,
    woken: Arc<Woken>,
}

impl Call {
    fn new(bulkhead: &Arc<Bulkhead>) -> Self {
        Self { acquire: bulkhead.acquire(), woken: Arc::default() }
    }

    fn poll(&mut self) -> Poll<Result<Permit, BulkheadFull>> {
        let waker = Waker::from(Arc::clone(&self.woken));
        Pin::new(&mut self.acquire).poll(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> u32 {
        self.woken.0.load(SeqCst)
    }
}

/// A call that has gone to wait.
fn waiting(bulkhead: &Arc<Bulkhead>) -> Call {
    let mut call = Call::new(bulkhead);
    assert!(call.poll().is_pending());
    call
}

fn admitted(poll: Poll<Result<Permit, BulkheadFull>>) -> Permit {
    match poll {
        Poll::Ready(Ok(permit)) => permit,
        other => panic!("not admitted: {other:?}"),
    }
}

fn counts(bulkhead: &Bulkhead) -> (u32, u32) {
    (bulkhead.in_flight(), bulkhead.queued())
}

#[test]
fn places_are_limited_and_come_back() {
    let bulkhead = Bulkhead::new(2, 0);
    let first = bulkhead.try_acquire().unwrap();
    let second = admitted(Call::new(&bulkhead).poll());
    assert!(bulkhead.try_acquire().is_none());
    let full = BulkheadFull { max_concurrent: 2, max_queue: 0 };
    assert!(matches!(Call::new(&bulkhead).poll(), Poll::Ready(Err(error)) if error == full));
    assert_eq!(full.to_string(), "bulkhead full: 2 calls run and 0 wait");
    drop(first);
    assert_eq!(counts(&bulkhead), (1, 0));
    drop((bulkhead.try_acquire().unwrap(), second));
    assert_eq!(counts(&bulkhead), (0, 0));
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/365>.
#[test]
fn t36_waiters_are_served_in_order_and_not_overtaken() {
    let bulkhead = Bulkhead::new(1, 2);
    let permit = bulkhead.try_acquire().unwrap();
    let (mut first, mut second) = (waiting(&bulkhead), waiting(&bulkhead));
    assert!(matches!(Call::new(&bulkhead).poll(), Poll::Ready(Err(_))));
    drop(permit);
    assert_eq!((first.woken(), second.woken(), counts(&bulkhead)), (1, 0, (1, 1)));
    assert!(bulkhead.try_acquire().is_none(), "a place in passing belongs to the waiter");
    assert!(second.poll().is_pending());
    let permit = admitted(first.poll());
    drop(permit);
    drop(admitted(second.poll()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn an_unpolled_call_takes_nothing() {
    let bulkhead = Bulkhead::new(1, 1);
    let call = Call::new(&bulkhead);
    assert_eq!(counts(&bulkhead), (0, 0));
    drop(call);
    assert_eq!(counts(&bulkhead), (0, 0));
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/393>,
/// <https://github.com/connor4312/cockatiel/issues/112>.
#[test]
fn t35_a_waiter_that_gives_up_leaves_the_queue() {
    let bulkhead = Bulkhead::new(1, 3);
    let permit = bulkhead.try_acquire().unwrap();
    let (first, second, mut third) = (waiting(&bulkhead), waiting(&bulkhead), waiting(&bulkhead));
    drop(second);
    assert_eq!(counts(&bulkhead), (1, 2));
    drop(first);
    drop(permit);
    drop(admitted(third.poll()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/393>,
/// <https://github.com/connor4312/cockatiel/issues/112>.
#[test]
fn t35_a_waiter_that_gives_up_with_a_place_passes_it_on() {
    let bulkhead = Bulkhead::new(1, 2);
    let permit = bulkhead.try_acquire().unwrap();
    let (first, mut second) = (waiting(&bulkhead), waiting(&bulkhead));
    drop(permit);
    assert_eq!((first.woken(), counts(&bulkhead)), (1, (1, 1)));
    drop(first);
    assert_eq!((second.woken(), counts(&bulkhead)), (1, (1, 0)));
    drop(admitted(second.poll()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn the_last_waker_is_woken() {
    let bulkhead = Bulkhead::new(1, 1);
    let permit = bulkhead.try_acquire().unwrap();
    let mut call = waiting(&bulkhead);
    let first = std::mem::take(&mut call.woken);
    assert!(call.poll().is_pending());
    drop(permit);
    assert_eq!((first.0.load(SeqCst), call.woken()), (0, 1));
}

#[test]
fn a_call_that_has_ended_is_pending() {
    let bulkhead = Bulkhead::new(1, 0);
    let mut call = Call::new(&bulkhead);
    drop(admitted(call.poll()));
    assert!(call.poll().is_pending());
    assert_eq!(call.woken(), 0);
    drop(call);
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn raised_limits_let_waiters_in() {
    let bulkhead = Bulkhead::new(1, 3);
    let permit = bulkhead.try_acquire().unwrap();
    let mut calls = [waiting(&bulkhead), waiting(&bulkhead), waiting(&bulkhead)];
    bulkhead.set_limits(3, 3);
    assert_eq!((bulkhead.limits(), counts(&bulkhead)), ((3, 3), (3, 1)));
    assert_eq!(calls.each_ref().map(Call::woken), [1, 1, 0]);
    let permits = [admitted(calls[0].poll()), admitted(calls[1].poll())];
    drop(permit);
    drop(admitted(calls[2].poll()));
    drop(permits);
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn lowered_limits_keep_places_and_let_nobody_in() {
    let bulkhead = Bulkhead::new(3, 2);
    let mut permits: Vec<Permit> = (0..3).map(|_| bulkhead.try_acquire().unwrap()).collect();
    let (mut first, mut second) = (waiting(&bulkhead), waiting(&bulkhead));
    bulkhead.set_limits(1, 0);
    assert_eq!(counts(&bulkhead), (3, 2));
    assert!(matches!(Call::new(&bulkhead).poll(), Poll::Ready(Err(_))));
    permits.truncate(1);
    assert_eq!((first.woken(), counts(&bulkhead)), (0, (1, 2)));
    permits.clear();
    assert_eq!((first.woken(), counts(&bulkhead)), (1, (1, 1)));
    drop(admitted(first.poll()));
    drop(admitted(second.poll()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn a_call_that_panics_frees_its_place() {
    let bulkhead = Bulkhead::new(1, 1);
    let permit = bulkhead.try_acquire().unwrap();
    let mut call = waiting(&bulkhead);
    let panicked = std::thread::spawn(move || {
        let _permit = permit;
        std::panic::resume_unwind(Box::new("a call's own fault"));
    })
    .join();
    assert!(panicked.is_err());
    drop(admitted(call.poll()));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Try,
    Acquire,
    Poll(usize),
    GiveUp(usize),
    Finish(usize),
    Limits(u32, u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Try),
        3 => Just(Step::Acquire),
        1 => any::<usize>().prop_map(Step::Poll),
        1 => any::<usize>().prop_map(Step::GiveUp),
        2 => any::<usize>().prop_map(Step::Finish),
        1 => (1_u32..5, 0_u32..5).prop_map(|(max_concurrent, max_queue)| Step::Limits(max_concurrent, max_queue)),
    ]
}

/// What a bulkhead is, said as directly as can be: how many run, who was handed a place, who waits.
#[derive(Default)]
struct Model {
    running: u32,
    handed: Vec<usize>,
    waiting: VecDeque<usize>,
}

impl Model {
    fn admit(&mut self, max_concurrent: u32) {
        while self.running < max_concurrent
            && let Some(id) = self.waiting.pop_front()
        {
            self.running += 1;
            self.handed.push(id);
        }
    }
}

#[test]
fn agrees_with_a_model() {
    property(800, prop::collection::vec(any_step(), 1..200), |steps| {
        let (mut max_concurrent, mut max_queue) = (2, 2);
        let bulkhead = Bulkhead::new(max_concurrent, max_queue);
        let mut model = Model::default();
        let mut permits: Vec<Permit> = Vec::new();
        let mut calls: Vec<(usize, Call)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            let is_free = model.waiting.is_empty() && model.running < max_concurrent;
            match step {
                Step::Try => {
                    let permit = bulkhead.try_acquire();
                    prop_assert_eq!(permit.is_some(), is_free);
                    model.running += u32::from(is_free);
                    permits.extend(permit);
                }
                Step::Acquire => {
                    let mut call = Call::new(&bulkhead);
                    match call.poll() {
                        Poll::Ready(Ok(permit)) => {
                            prop_assert!(is_free);
                            model.running += 1;
                            permits.push(permit);
                        }
                        Poll::Ready(Err(_)) => {
                            prop_assert!(!is_free && model.waiting.len() >= max_queue as usize);
                        }
                        Poll::Pending => {
                            prop_assert!(!is_free && model.waiting.len() < max_queue as usize);
                            model.waiting.push_back(id);
                            calls.push((id, call));
                        }
                    }
                }
                Step::Poll(index) if !calls.is_empty() => {
                    let index = index % calls.len();
                    let id = calls[index].0;
                    match calls[index].1.poll() {
                        Poll::Ready(permit) => {
                            prop_assert!(model.handed.contains(&id));
                            model.handed.retain(|handed| *handed != id);
                            permits.push(permit.unwrap());
                            calls.remove(index);
                        }
                        Poll::Pending => prop_assert!(model.waiting.contains(&id)),
                    }
                }
                Step::GiveUp(index) if !calls.is_empty() => {
                    let (id, call) = calls.remove(index % calls.len());
                    drop(call);
                    if model.handed.contains(&id) {
                        model.handed.retain(|handed| *handed != id);
                        model.running -= 1;
                    }
                    model.waiting.retain(|waiting| *waiting != id);
                    model.admit(max_concurrent);
                }
                Step::Finish(index) if !permits.is_empty() => {
                    drop(permits.swap_remove(index % permits.len()));
                    model.running -= 1;
                    model.admit(max_concurrent);
                }
                Step::Limits(concurrent, queue) => {
                    (max_concurrent, max_queue) = (concurrent, queue);
                    bulkhead.set_limits(max_concurrent, max_queue);
                    model.admit(max_concurrent);
                }
                Step::Poll(_) | Step::GiveUp(_) | Step::Finish(_) => {}
            }
            prop_assert_eq!(counts(&bulkhead), (model.running, model.waiting.len() as u32));
            for (id, call) in &calls {
                prop_assert_eq!(call.woken(), u32::from(model.handed.contains(id)));
            }
        }
        drop(calls);
        drop(permits);
        prop_assert_eq!(counts(&bulkhead), (0, 0));
        Ok(())
    });
}

/// Wakes a thread.
struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        self.thread.unpark();
    }
}

/// Waits for a place, or gives up at the first chance.
fn wait(mut acquire: Acquire, gives_up: bool) -> Option<Permit> {
    let unpark = Arc::new(Unpark { thread: std::thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    loop {
        match Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result.ok(),
            Poll::Pending if gives_up => return None,
            Poll::Pending => {}
        }
        // A thread may be unparked for an earlier wait, so one return says nothing.
        let is_woken = (0..60).any(|_| {
            unpark.is_woken.swap(false, SeqCst) || {
                std::thread::park_timeout(Duration::from_secs(1));
                false
            }
        });
        assert!(is_woken, "nobody woke it: the place was lost");
    }
}

#[test]
fn racing_calls_lose_no_place_and_get_none_too_many() {
    const CALLS: u64 = 30_000;
    const MOST: u32 = 3;
    let bulkhead = Bulkhead::new(MOST, 2);
    let (running, served, is_over) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (1..=4_u64)
            .map(|seed| {
                let (bulkhead, running, served) = (&bulkhead, &running, &served);
                scope.spawn(move || {
                    let mut random = seed;
                    for _ in 0..CALLS {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let permit = match random >> 61 {
                            0 => bulkhead.try_acquire(),
                            1 | 2 => wait(bulkhead.acquire(), true),
                            _ => wait(bulkhead.acquire(), false),
                        };
                        if permit.is_some() {
                            assert!(running.fetch_add(1, SeqCst) < MOST);
                            if random >> 59 & 1 == 0 {
                                std::thread::yield_now();
                            }
                            running.fetch_sub(1, SeqCst);
                            served.fetch_add(1, SeqCst);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for round in 0_u32.. {
                if is_over.load(SeqCst) {
                    break;
                }
                bulkhead.set_limits(1 + round % MOST, round % 4);
                std::thread::yield_now();
            }
        });
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        is_over.store(true, SeqCst);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(counts(&bulkhead), (0, 0));
    assert!(served.into_inner() > 0);
}

/// Here no other call and no new limits would come and wake a call that was forgotten.
#[test]
fn c18_of_two_calls_for_one_place_none_is_forgotten() {
    const CALLS: u32 = 100_000;
    let bulkhead = Bulkhead::new(1, 1);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let bulkhead = &bulkhead;
            scope.spawn(move || {
                for call in 0..CALLS {
                    let gives_up = thread == 0 && call % 4 == 0;
                    assert!(wait(bulkhead.acquire(), gives_up).is_some() || gives_up);
                }
            });
        }
    });
    assert_eq!(counts(&bulkhead), (0, 0));
}
