//! Which stripes are a thread's own.

use crate::sync::{AtomicU64, Ordering, process_wide, thread_own};
use std::cell::Cell;

/// Slots: a bit each of [`TAKEN`].
pub(super) const SLOTS: usize = u64::BITS as usize;

process_wide! {
    /// The slots that a living thread has.
    static TAKEN;
}

thread_own! {
    /// What this thread looks at each time it counts. It needs no drop and so is there to the end of the thread.
    static MINE: Cell<Slot> = Cell::new(Slot::NONE);
}

thread_own! {
    /// Gives the slot back when the thread ends.
    static LEASE: Cell<Option<Lease>> = Cell::new(None);
}

/// The number of a slot; one that no slot has where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u8);

impl Slot {
    /// None yet, or none was free.
    const NONE: Self = Self(u8::MAX);
    /// None any more: the thread is ending.
    const ENDED: Self = Self(u8::MAX - 1);

    #[inline]
    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// The slot of this thread; an invalid number where it has none.
#[inline]
pub(super) fn mine() -> Slot {
    MINE.try_with(Cell::get).unwrap_or(Slot::ENDED)
}

/// The slot of this thread, taken if it has none. `None`: none is free, or the thread is ending.
#[cold]
pub(super) fn claim() -> Option<Slot> {
    match mine() {
        Slot::NONE => {}
        Slot::ENDED => return None,
        slot => return Some(slot),
    }
    let lease = Lease { number: take(&TAKEN)? };
    let slot = Slot(lease.number);
    // Where the thread is past giving slots back, the lease is dropped here.
    LEASE.try_with(|held| held.set(Some(lease))).ok()?;
    MINE.try_with(|mine| mine.set(slot)).ok()?;
    Some(slot)
}

/// Holds a slot; it is free again when this is dropped, on the thread that took it.
#[derive(Debug)]
struct Lease {
    number: u8,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First: whatever the thread still counts goes to the shared stripe.
        let _ = MINE.try_with(|mine| mine.set(Slot::ENDED));
        give_back(&TAKEN, self.number);
    }
}

/// Takes the lowest slot that is free.
fn take(taken: &AtomicU64) -> Option<u8> {
    let mut bits = taken.load(Ordering::Relaxed);
    loop {
        let number = bits.trailing_ones();
        let bit = 1_u64.checked_shl(number)?;
        // Acquire: all that its last owner wrote.
        match taken.compare_exchange_weak(bits, bits | bit, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return u8::try_from(number).ok(),
            Err(now) => bits = now,
        }
    }
}

fn give_back(taken: &AtomicU64, number: u8) {
    taken.fetch_and(!(1 << number), Ordering::Release);
}

/// Begins a run of a model, in which no thread has a slot yet.
#[cfg(all(loom, test))]
pub(crate) fn begin_process() {
    TAKEN.begin();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_from_the_lowest_on_and_taken_again_when_given_back() {
        let taken = AtomicU64::new(0);
        for number in 0..64 {
            assert_eq!(take(&taken), Some(number));
        }
        assert_eq!(take(&taken), None);
        give_back(&taken, 63);
        give_back(&taken, 7);
        assert_eq!((take(&taken), take(&taken), take(&taken)), (Some(7), Some(63), None));
    }
}
