//! The window of the last so many calls.
//!
//! A last-N window cannot be cut into stripes: which call falls out depends on the order of all. So the order is one word,
//! the head: `[generation 19 | full 1 | lap 12 | index 10 | failures 11 | slow 11]`. It says which slot is next and what
//! the slots hold in sum, so a decision reads one word, however large the window is.
//!
//! A call is counted in two steps. It claims the slot at the index by a compare-and-swap that writes the lap, the call and
//! the call that it replaces; then the head moves on by one compare-and-swap, which needs nothing but head and slot. So
//! whoever finds a slot claimed and the head not moved moves it: nobody waits for a caller that was paused in between, and
//! each call is counted once. A slot whose generation and lap are not the head's is a free one, whatever it holds.
//!
//! The window validates itself by the generation in the head: the first writer of a later one begins a lap with nothing
//! counted, and no slot is ever swept. A writer of an earlier generation is late, and what it brings is dropped. It is the
//! whole generation of the breaker's word, for an outage of an hour makes hundreds of them without a call to count.
//!
//! A caller would have to be paused for exactly 2^12 laps of a generation, or 2^19 generations, to be taken for one of the
//! present lap.

use super::window::{Sample, Totals};
use crate::sync::{AtomicU64, Ordering};

const GENERATION_MASK: u32 = (1 << 19) - 1;
/// How far behind the head a generation may be and still be taken for late: half of the way round.
const LATE_GENERATIONS: u32 = 1 << 18;
const LAP_MASK: u32 = (1 << 12) - 1;

/// The outcomes of the last so many calls.
#[derive(Debug)]
pub(super) struct CountRing {
    head: AtomicU64,
    slots: Box<[AtomicU64]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    generation: u32,
    /// Whether each slot holds a call of the generation.
    is_full: bool,
    lap: u32,
    index: u32,
    failures: u32,
    slow: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    generation: u32,
    lap: u32,
    call: Call,
    /// What the call replaced.
    replaced: Call,
}

/// One bit that it failed, one that it was slow; none of both stands for no call as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Call {
    failures: u32,
    slow: u32,
}

impl CountRing {
    /// An empty ring for the last so many calls, 1 to 1024.
    pub(super) fn new(size: u32) -> Self {
        // Lap 1: a slot that was never written is of lap 0, and so is free.
        let head = Head { generation: 0, is_full: false, lap: 1, index: 0, failures: 0, slow: 0 };
        Self { head: AtomicU64::new(head.pack()), slots: (0..size.clamp(1, 1024)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts a call of a generation; a late one is dropped.
    pub(super) fn add(&self, generation: u32, sample: Sample) {
        let call = Call { failures: sample.is_failure.into(), slow: sample.is_slow.into() };
        loop {
            let word = self.head.load(Ordering::Acquire);
            let head = Head::unpack(word);
            if head.generation != generation {
                if head.generation.wrapping_sub(generation) & GENERATION_MASK <= LATE_GENERATIONS {
                    return;
                }
                self.advance(word, head.begun(generation));
                continue;
            }
            let Some(cell) = self.slots.get(head.index as usize) else { return };
            let old = cell.load(Ordering::Acquire);
            // Only a slot that was read while the head stood there is known to be of this lap or an earlier one.
            if self.head.load(Ordering::Acquire) != word {
                continue;
            }
            let slot = Slot::unpack(old);
            if (slot.generation, slot.lap) == (head.generation, head.lap) {
                // Claimed by another, who has not moved the head yet.
                self.advance(word, self.after(head, slot));
                continue;
            }
            let replaced = if head.is_full { slot.call } else { Call::default() };
            let claimed = Slot { generation: head.generation, lap: head.lap, call, replaced };
            if cell.compare_exchange(old, claimed.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // Where another has moved the head on for us, this changes nothing.
                self.advance(word, self.after(head, claimed));
                return;
            }
        }
    }

    /// What the window holds of a generation.
    pub(super) fn totals(&self, generation: u32) -> Totals {
        let head = Head::unpack(self.head.load(Ordering::Acquire));
        if head.generation != generation {
            return Totals::default();
        }
        let calls = if head.is_full { self.len() } else { head.index };
        Totals {
            successes: u64::from(calls.saturating_sub(head.failures)),
            failures: u64::from(head.failures),
            slow: u64::from(head.slow),
        }
    }

    fn advance(&self, from: u64, to: Head) {
        // Whoever fails here finds the head moved.
        let _ = self.head.compare_exchange(from, to.pack(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The head once the slot that it stands at is counted.
    fn after(&self, head: Head, slot: Slot) -> Head {
        let is_last = head.index + 1 >= self.len();
        Head {
            generation: head.generation,
            is_full: head.is_full || is_last,
            lap: if is_last { (head.lap + 1) & LAP_MASK } else { head.lap },
            index: if is_last { 0 } else { head.index + 1 },
            failures: (head.failures + slot.call.failures).saturating_sub(slot.replaced.failures),
            slow: (head.slow + slot.call.slow).saturating_sub(slot.replaced.slow),
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

impl Head {
    /// An empty window of another generation. It begins a lap, so that no slot counts as claimed.
    fn begun(self, generation: u32) -> Self {
        Self { generation, is_full: false, lap: (self.lap + 1) & LAP_MASK, index: 0, failures: 0, slow: 0 }
    }

    fn pack(self) -> u64 {
        u64::from(self.generation) << 45
            | u64::from(self.is_full) << 44
            | u64::from(self.lap) << 32
            | u64::from(self.index) << 22
            | u64::from(self.failures) << 11
            | u64::from(self.slow)
    }

    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 45) as u32,
            is_full: word >> 44 & 1 == 1,
            lap: (word >> 32) as u32 & LAP_MASK,
            index: (word >> 22) as u32 & 0x3ff,
            failures: (word >> 11) as u32 & 0x7ff,
            slow: word as u32 & 0x7ff,
        }
    }
}

impl Slot {
    fn pack(self) -> u64 {
        u64::from(self.generation) << 16 | u64::from(self.lap) << 4 | self.call.pack() << 2 | self.replaced.pack()
    }

    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 16) as u32,
            lap: (word >> 4) as u32 & LAP_MASK,
            call: Call::unpack(word >> 2),
            replaced: Call::unpack(word),
        }
    }
}

impl Call {
    fn pack(self) -> u64 {
        u64::from(self.failures) << 1 | u64::from(self.slow)
    }

    fn unpack(word: u64) -> Self {
        Self { failures: (word >> 1) as u32 & 1, slow: word as u32 & 1 }
    }
}

#[cfg(test)]
mod tests;
