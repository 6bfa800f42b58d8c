//! Which stripes are a thread's own.

use crate::sync::{AtomicU64, Ordering, process_wide, thread_own};
use std::cell::Cell;

/// Slots: a bit each of [`TAKEN`].
const SLOTS: u32 = u64::BITS;
/// Groups of slots, each as large as all before it together.
pub(super) const GROUPS: usize = SLOTS.ilog2() as usize + 1;

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

/// A slot, as the stripes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    group: u8,
    index: u8,
}

impl Slot {
    /// None yet, or none was free.
    const NONE: Self = Self { group: u8::MAX, index: 0 };
    /// None any more: the thread is ending.
    const ENDED: Self = Self { group: u8::MAX, index: 1 };

    const fn of(number: u32) -> Self {
        match number.checked_ilog2() {
            None => Self { group: 0, index: 0 },
            Some(group) => Self { group: group as u8 + 1, index: (number - (1 << group)) as u8 },
        }
    }

    #[inline]
    pub(super) fn group(self) -> usize {
        usize::from(self.group)
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        usize::from(self.index)
    }

    /// Slots of its group.
    pub(super) fn group_len(self) -> usize {
        1 << usize::from(self.group.saturating_sub(1))
    }
}

/// The slot of this thread; one of no group where it has none.
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
    let slot = Slot::of(lease.number);
    // Where the thread is past giving slots back, the lease is dropped here.
    LEASE.try_with(|held| held.set(Some(lease))).ok()?;
    MINE.try_with(|mine| mine.set(slot)).ok()?;
    Some(slot)
}

/// Holds a slot; it is free again when this is dropped, on the thread that took it.
#[derive(Debug)]
struct Lease {
    number: u32,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First: whatever the thread still counts goes to the shared stripe.
        let _ = MINE.try_with(|mine| mine.set(Slot::ENDED));
        give_back(&TAKEN, self.number);
    }
}

/// Takes the lowest slot that is free.
fn take(taken: &AtomicU64) -> Option<u32> {
    let mut bits = taken.load(Ordering::Relaxed);
    loop {
        let number = bits.trailing_ones();
        let bit = 1_u64.checked_shl(number)?;
        // Acquire: all that its last owner wrote.
        match taken.compare_exchange_weak(bits, bits | bit, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Some(number),
            Err(now) => bits = now,
        }
    }
}

fn give_back(taken: &AtomicU64, number: u32) {
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
        for number in 0..SLOTS {
            assert_eq!(take(&taken), Some(number));
        }
        assert_eq!(take(&taken), None);
        give_back(&taken, 63);
        give_back(&taken, 7);
        assert_eq!((take(&taken), take(&taken), take(&taken)), (Some(7), Some(63), None));
    }

    #[test]
    fn groups_hold_each_slot_once() {
        let mut seen = [0; GROUPS];
        for number in 0..SLOTS {
            let slot = Slot::of(number);
            assert_eq!(slot.index(), seen[slot.group()], "{number}");
            seen[slot.group()] += 1;
            assert!(slot.index() < slot.group_len(), "{number}");
        }
        assert_eq!(seen, [1, 1, 2, 4, 8, 16, 32]);
    }
}
