//! Who takes it down.

use super::{Moment, Operation, Stamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Takes in what all clients do. Clones write into the same history.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: AtomicU64,
    stamps: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl Recorder {
    /// This moment, which no other is.
    pub fn now(&self) -> Moment {
        // One order that all threads agree on is what the check rests upon.
        self.0.now.fetch_add(1, Ordering::SeqCst)
    }

    /// A stamp that nobody else has, from 1.
    pub fn stamp(&self) -> Stamp {
        self.0.stamps.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes in an operation that is over, or given up.
    pub fn record(&self, operation: Operation) {
        self.lock().push(operation);
    }

    /// All that is over, in the order in which it was.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.0.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
