//! The calls under way, on one thread and on virtual time.

use super::clock::Clock;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Calls that have begun and not ended, in the order in which they began. `T` is how a call ends, `None` a panic.
pub(crate) struct Calls<T> {
    clock: Clock,
    running: Vec<Running<T>>,
    ended: Vec<Ended<T>>,
}

struct Running<T> {
    id: String,
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Woken>,
    began: Timestamp,
}

/// A call that has ended.
pub(crate) struct Ended<T> {
    pub(crate) id: String,
    pub(crate) output: Option<T>,
    pub(crate) began: Timestamp,
    pub(crate) ended: Timestamp,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<T> Calls<T> {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, running: Vec::new(), ended: Vec::new() }
    }

    /// Begins a call, and runs it as far as it comes without time.
    pub(crate) fn begin(&mut self, id: String, future: impl Future<Output = T> + 'static) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.running.push(Running { id, future: Box::pin(future), woken, began: self.clock.now() });
        self.settle();
    }

    /// Lets time pass until a call has ended. `false`: it never does.
    pub(crate) fn run_until_ended(&mut self, id: &str) -> bool {
        while self.is_running(id) {
            let Some(due) = self.clock.next_due() else { return false };
            self.pass_to(due);
        }
        true
    }

    /// Lets time pass until a time.
    pub(crate) fn run_until(&mut self, time: Timestamp) {
        while let Some(due) = self.clock.next_due().filter(|due| *due <= time) {
            self.pass_to(due);
        }
        self.clock.move_to(time);
    }

    /// Ends a call as its caller's cancellation does. `false`: it is not running.
    pub(crate) fn cancel(&mut self, id: &str) -> bool {
        let Some(index) = self.running.iter().position(|call| call.id == id) else { return false };
        drop(self.running.remove(index));
        self.settle();
        true
    }

    /// Takes what a call has ended with. `None`: it runs, or was never begun.
    pub(crate) fn take_ended(&mut self, id: &str) -> Option<Ended<T>> {
        let index = self.ended.iter().position(|call| call.id == id)?;
        Some(self.ended.remove(index))
    }

    /// When a call that runs began.
    pub(crate) fn began(&self, id: &str) -> Option<Timestamp> {
        self.running.iter().find(|call| call.id == id).map(|call| call.began)
    }

    /// Runs all calls as far as they come without time.
    pub(crate) fn settle(&mut self) {
        while let Some(index) = self.running.iter().position(|call| call.woken.0.swap(false, Ordering::SeqCst)) {
            let call = &mut self.running[index];
            let waker = Waker::from(Arc::clone(&call.woken));
            let poll = catch_unwind(AssertUnwindSafe(|| call.future.as_mut().poll(&mut Context::from_waker(&waker))));
            let output = match poll {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(output)) => Some(output),
                Err(_) => None,
            };
            let Running { id, began, .. } = self.running.remove(index);
            self.ended.push(Ended { id, output, began, ended: self.clock.now() });
        }
    }

    fn pass_to(&mut self, due: Timestamp) {
        self.clock.move_to(due);
        self.settle();
    }

    fn is_running(&self, id: &str) -> bool {
        self.running.iter().any(|call| call.id == id)
    }
}
