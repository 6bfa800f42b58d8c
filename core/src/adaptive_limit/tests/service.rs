//! A service to learn about, on virtual time: workers, a queue without end, and calls that come at random.

use super::super::{AdaptiveLimit, Lesson, Permit};
use crate::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// A service behind a limit. Work takes its worker between a half and one and a half of `work`; a call that is not
/// answered within `timeout` fails, and a worker that has begun it finishes it all the same.
pub(super) struct Service<'a> {
    pub(super) limit: &'a AdaptiveLimit,
    pub(super) workers: usize,
    pub(super) work: Duration,
    pub(super) timeout: Duration,
    now: u64,
    random: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    waiting: HashMap<u64, (u64, Permit<'a>)>,
    queue: VecDeque<u64>,
    busy: usize,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Done(u64),
    Timeout(u64),
}

/// What happened over a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    pub(super) lowest: u32,
    pub(super) highest: u32,
    /// Answers a second.
    pub(super) throughput: f64,
    /// Mean time to an answer, in units of `work`.
    pub(super) latency: f64,
}

impl<'a> Service<'a> {
    pub(super) fn new(limit: &'a AdaptiveLimit, workers: usize, work: Duration, timeout: Duration) -> Self {
        Self {
            limit,
            workers,
            work,
            timeout,
            now: 0,
            random: 1,
            events: BinaryHeap::new(),
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            busy: 0,
            next: 0,
        }
    }

    /// Answers a second of which it is capable.
    pub(super) fn capacity(&self) -> f64 {
        self.workers as f64 / self.work.as_secs_f64()
    }

    /// Offers so many times its capacity for a while.
    pub(super) fn offer(&mut self, load: f64, seconds: u64) -> Observed {
        let rate = load * self.capacity();
        let end = self.now + seconds * 1_000_000_000;
        let limit = self.limit.load().limit;
        let mut observed = Observed { lowest: limit, highest: limit, throughput: 0.0, latency: 0.0 };
        let (mut answers, mut total) = (0_u32, 0.0);
        self.events.retain(|Reverse((_, _, event))| *event != Event::Arrival);
        self.schedule(0.0, Event::Arrival);
        while self.events.peek().is_some_and(|Reverse((at, ..))| *at <= end)
            && let Some(Reverse((at, _, event))) = self.events.pop()
        {
            self.now = at;
            match event {
                Event::Arrival => self.arrive(rate),
                Event::Done(call) => {
                    if let Some((since, permit)) = self.waiting.remove(&call) {
                        let latency = Duration::from_nanos(at - since);
                        permit.record(Lesson::Answered(latency), Timestamp::from_nanos(at));
                        answers += 1;
                        total += latency.as_secs_f64();
                    }
                    self.busy -= 1;
                    self.start();
                }
                Event::Timeout(call) => {
                    if let Some((_, permit)) = self.waiting.remove(&call) {
                        permit.record(Lesson::Overload, Timestamp::from_nanos(at));
                    }
                }
            }
            let limit = self.limit.load().limit;
            observed.lowest = observed.lowest.min(limit);
            observed.highest = observed.highest.max(limit);
        }
        self.now = end;
        observed.throughput = f64::from(answers) / seconds as f64;
        observed.latency = total / f64::from(answers.max(1)) / self.work.as_secs_f64();
        observed
    }

    fn arrive(&mut self, rate: f64) {
        let gap = -(1.0 - self.uniform()).ln() / rate;
        self.schedule(gap, Event::Arrival);
        let Some(permit) = self.limit.try_acquire() else { return };
        let call = self.next;
        self.waiting.insert(call, (self.now, permit));
        self.schedule(self.timeout.as_secs_f64(), Event::Timeout(call));
        self.queue.push_back(call);
        self.start();
    }

    /// Puts free workers to work.
    fn start(&mut self) {
        while self.busy < self.workers
            && let Some(call) = self.queue.pop_front()
        {
            if self.waiting.contains_key(&call) {
                self.busy += 1;
                let work = self.work.as_secs_f64() * (0.5 + self.uniform());
                self.schedule(work, Event::Done(call));
            }
        }
    }

    fn schedule(&mut self, seconds: f64, event: Event) {
        self.next += 1;
        self.events.push(Reverse((self.now + (seconds * 1e9) as u64, self.next, event)));
    }

    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}
