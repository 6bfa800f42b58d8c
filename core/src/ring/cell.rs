//! One count that knows what it counts.
//!
//! The count and what it is of do not fit one word without narrow fields that come round while somebody still believes
//! them. So a cell is two: a tag, `[what 54 | sequence 10]`, and a count, `[sequence 10 | count 54]`. The count is valid
//! where both sequences are the same.
//!
//! A cell is taken over in two steps, count before tag: the count goes to the next sequence and zero, which ends the old
//! count for everybody, then the tag says what the new one is of. Between the two the cell counts nothing, and whoever
//! wants to write to it makes the second step, so nobody waits for a thread that was paused. Who still adds to the old
//! count fails, for its sequence is gone. Each step and each addition is a compare-and-swap in a cell that many write to,
//! and a plain store in one that a thread owns.
//!
//! The sequence has ten bits: a thread would have to be paused between two loads while the cell is taken over exactly
//! 1,024 times, or a multiple of that, and find the same count.

use super::frame::Id;
use crate::sync::{AtomicU64, Ordering, Ordering::SeqCst};

const SEQUENCE_BITS: u32 = u64::BITS - Id::BITS;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;
const COUNT_BITS: u32 = u64::BITS - SEQUENCE_BITS;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

#[derive(Debug, Default)]
pub(super) struct Cell {
    tag: AtomicU64,
    count: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Count(u64);

impl Cell {
    /// What is counted of `id`.
    pub(super) fn count(&self, id: Id) -> u64 {
        let tag = Tag(self.tag.load(SeqCst));
        if tag.id() != id {
            return 0;
        }
        let count = Count(self.count.load(SeqCst));
        if count.sequence() == tag.sequence() { count.number() } else { 0 }
    }

    /// Counts one more of `id`, and says how many there are now. `None`: it comes too late, and is dropped.
    pub(super) fn add(&self, id: Id) -> Option<u64> {
        self.add_if(id, |_| true)
    }

    /// Counts one more of `id` if `admits` what is counted already; says how many there are then, if it did.
    pub(super) fn add_if(&self, id: Id, admits: impl Fn(u64) -> bool) -> Option<u64> {
        while let Some(count) = self.take_over(id) {
            if !admits(count.number()) {
                return None;
            }
            if self.swap(count, Count(count.0 + 1)) {
                return Some(count.number() + 1);
            }
        }
        None
    }

    /// Takes back one of `id`, if the cell still counts it.
    pub(super) fn take_back(&self, id: Id) {
        loop {
            let tag = Tag(self.tag.load(SeqCst));
            let count = Count(self.count.load(SeqCst));
            let counts_it = tag.id() == id && count.sequence() == tag.sequence() && count.number() > 0;
            if !counts_it || self.swap(count, Count(count.0 - 1)) {
                return;
            }
        }
    }

    /// Counts one more of `id` in a cell that nobody else writes to; says whether it came in time.
    pub(super) fn add_own(&self, id: Id) -> bool {
        let tag = Tag(self.tag.load(Ordering::Relaxed));
        if tag.id() == id {
            self.add_to_own();
            return true;
        }
        if tag.is_ahead_of(id) {
            return false;
        }
        let next = tag.next(id);
        self.count.store(Count::zero(next.sequence()).0 + 1, Ordering::Release);
        self.tag.store(next.0, Ordering::Release);
        true
    }

    /// Counts one more of what the cell counts, where nobody else writes to it.
    #[inline]
    pub(super) fn add_to_own(&self) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The count of `id`, once it is that which the cell counts. `None`: the cell is past it.
    fn take_over(&self, id: Id) -> Option<Count> {
        loop {
            let tag = Tag(self.tag.load(SeqCst));
            let count = Count(self.count.load(SeqCst));
            let is_valid = count.sequence() == tag.sequence();
            if tag.id() == id {
                // Where it is not valid, somebody takes the cell over for something newer.
                return is_valid.then_some(count);
            }
            if tag.is_ahead_of(id) {
                return None;
            }
            let next = tag.next(id);
            if is_valid && !self.swap(count, Count::zero(next.sequence())) {
                continue;
            }
            if is_valid || count.sequence() == next.sequence() {
                // Where it fails, another has taken the second step, for `id` or something else.
                let _ = self.tag.compare_exchange(tag.0, next.0, SeqCst, SeqCst);
            }
        }
    }

    fn swap(&self, from: Count, to: Count) -> bool {
        self.count.compare_exchange(from.0, to.0, SeqCst, SeqCst).is_ok()
    }
}

impl Tag {
    fn id(self) -> Id {
        Id::from_bits(self.0 >> SEQUENCE_BITS)
    }

    fn sequence(self) -> u64 {
        self.0 & SEQUENCE_MASK
    }

    /// The tag after this one, of `id`.
    fn next(self, id: Id) -> Self {
        Self(id.bits() << SEQUENCE_BITS | self.sequence().wrapping_add(1) & SEQUENCE_MASK)
    }

    /// Whether a writer of `id` comes too late. Nobody does for a cell that was never written to.
    fn is_ahead_of(self, id: Id) -> bool {
        self.0 != 0 && id.is_before(self.id())
    }
}

impl Count {
    const fn zero(sequence: u64) -> Self {
        Self(sequence << COUNT_BITS)
    }

    fn sequence(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    fn number(self) -> u64 {
        self.0 & COUNT_MASK
    }
}

#[cfg(test)]
impl Cell {
    /// A cell that has counted `id` 2^32 - 1 times.
    pub(super) fn full(id: Id) -> Self {
        let tag = Tag(0).next(id);
        let count = Count::zero(tag.sequence()).0 + u64::from(u32::MAX);
        Self { tag: AtomicU64::new(tag.0), count: AtomicU64::new(count) }
    }

    /// The first of the two steps, and a pause.
    pub(super) fn begin_taking_over(&self, id: Id) {
        let next = Tag(self.tag.load(SeqCst)).next(id);
        assert!(self.swap(Count(self.count.load(SeqCst)), Count::zero(next.sequence())));
    }
}
