//! The wait for a place.

use super::{Bulkhead, BulkheadFull, Load, Permit};
use crate::sync::Ordering;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A call on its way to a place; see [`Bulkhead::acquire`]. Polled after it has ended, it is pending for ever.
#[derive(Debug)]
#[must_use = "a place is only taken when the future is polled"]
pub struct Acquire {
    bulkhead: Arc<Bulkhead>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    /// In the queue by this ticket; no longer in the queue: with a place.
    Waiting(u64),
    Ended,
}

impl Acquire {
    pub(super) fn new(bulkhead: Arc<Bulkhead>) -> Self {
        Self { bulkhead, state: State::New }
    }

    fn end(&mut self, result: Result<Permit, BulkheadFull>) -> Poll<Result<Permit, BulkheadFull>> {
        self.state = State::Ended;
        Poll::Ready(result)
    }
}

impl Future for Acquire {
    type Output = Result<Permit, BulkheadFull>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.state {
            State::New => {
                if let Some(permit) = this.bulkhead.try_acquire() {
                    return this.end(Ok(permit));
                }
                match this.bulkhead.enqueue(context.waker()) {
                    Ok(Entry::Queued(ticket)) => {
                        this.state = State::Waiting(ticket);
                        Poll::Pending
                    }
                    Ok(Entry::Admitted(permit)) => this.end(Ok(permit)),
                    Err(full) => this.end(Err(full)),
                }
            }
            State::Waiting(ticket) => {
                if this.bulkhead.still_waits(ticket, context.waker()) {
                    return Poll::Pending;
                }
                let permit = Permit { bulkhead: Arc::clone(&this.bulkhead) };
                this.end(Ok(permit))
            }
            State::Ended => Poll::Pending,
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let State::Waiting(ticket) = self.state
            && !self.bulkhead.leave(ticket)
        {
            self.bulkhead.release();
        }
    }
}

/// What became of a call that found no place free.
enum Entry {
    Queued(u64),
    /// A place was freed meanwhile.
    Admitted(Permit),
}

impl Bulkhead {
    fn enqueue(self: &Arc<Self>, waker: &Waker) -> Result<Entry, BulkheadFull> {
        // A waker is its host's code, which is not run under the mutex.
        let waker = waker.clone();
        let mut queue = self.lock();
        let (max_concurrent, max_queue) = self.limits();
        let mut load = self.load();
        loop {
            let admits = load.queued == 0 && load.running < max_concurrent;
            if !admits && load.queued >= max_queue {
                drop(queue);
                return Err(BulkheadFull { max_concurrent, max_queue });
            }
            let next = if admits {
                Load { running: load.running + 1, ..load }
            } else {
                Load { queued: load.queued + 1, ..load }
            };
            match self.swap(load, next) {
                Ok(()) if admits => {
                    return Ok(Entry::Admitted(Permit { bulkhead: Arc::clone(self) }));
                }
                Ok(()) => break,
                Err(now) => load = now,
            }
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.insert(ticket, waker);
        Ok(Entry::Queued(ticket))
    }

    /// Whether a call is still in the queue; if so, the waker takes the place of its last one.
    fn still_waits(&self, ticket: u64, waker: &Waker) -> bool {
        let mut waker = waker.clone();
        let mut queue = self.lock();
        let waits = match queue.waiting.get_mut(&ticket) {
            Some(last) => {
                mem::swap(last, &mut waker);
                true
            }
            None => false,
        };
        drop(queue);
        waits
    }

    /// Takes a call out of the queue; `false` where it was no longer in it.
    fn leave(&self, ticket: u64) -> bool {
        let mut queue = self.lock();
        let waker = queue.waiting.remove(&ticket);
        if waker.is_some() {
            self.load.fetch_sub(Load::WAITER, Ordering::AcqRel);
        }
        drop(queue);
        waker.is_some()
    }
}
