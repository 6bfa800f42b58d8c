//! The window of the last so many calls.
//!
//! A last-N window cannot be cut into stripes: which call falls out depends on the order of all. So the order is one word,
//! the head: `[series 19 | lap 11 | index 10 | failures 11 | slow 11 | last 2]`. It says which call was the last, what it
//! was, and what all that are in the window are in sum, so a decision reads one word, however large the window is. To
//! count a call is one compare-and-swap of the head. That is the moment at which it counts, for everybody: whoever counted
//! it decides by the head as it was then, whatever others have counted since.
//!
//! What each call was is written down beside, two bits each: the call that comes a window later has to know what it
//! replaces. It is written after the head has moved, and only where it is not there already: a success that takes the
//! place of a success has nothing to write. So all but the last call of the head are written down, always: whoever wants to
//! move the head first sees to that of the last, for whoever counted it, and nobody waits for a caller that was paused in
//! between. A word of sixteen calls has a sequence, so that who comes late with the same writes nothing.
//!
//! The index goes through all 1,024 places, however few calls the window holds, and what falls out is as many places back
//! as those. So the head of a window of one call comes round as late as that of the largest.
//!
//! The window validates itself by the [series](crate::ring) in the head: the first writer of a later one begins a lap with
//! nothing counted, in which what is written down is replaced and never subtracted; nothing is ever swept. A writer of an
//! earlier series is late, and what it brings is dropped. How many calls it holds is of the series as well, so one ring
//! serves them all.
//!
//! A caller would have to be paused between reading the head and moving it for exactly 2,096,128 calls (2,047 laps of 1,024),
//! or a multiple, or for 2^19 series, and find the same sums, to be taken for one of the present lap.

use super::window::{Sample, Totals};
use crate::ring::{Frame, LATE_SERIES};
use crate::sync::{AtomicU64, Ordering};

const SERIES_MASK: u32 = (1 << 19) - 1;
/// The laps that follow the first, which alone is number zero.
const LAPS: u32 = (1 << 11) - 1;
/// Places of a lap, less one.
const INDEX_MASK: u32 = (1 << 10) - 1;
const SUM_MASK: u32 = (1 << 11) - 1;
const SLOW_SHIFT: u32 = 2;
const FAILURES_SHIFT: u32 = SLOW_SHIFT + 11;
const INDEX_SHIFT: u32 = FAILURES_SHIFT + 11;
const LAP_SHIFT: u32 = INDEX_SHIFT + 10;
const SERIES_SHIFT: u32 = LAP_SHIFT + 11;
/// Of lap and index.
const PLACE_MASK: u64 = (1 << SERIES_SHIFT) - (1 << INDEX_SHIFT);
/// Of failures and slow calls.
const SUMS_MASK: u64 = (1 << INDEX_SHIFT) - (1 << SLOW_SHIFT);
/// Calls that a word of the notes holds, beside its sequence.
const IN_A_WORD: u32 = 16;
const SEQUENCE_ONE: u64 = 1 << 32;

/// The outcomes of the last so many calls, 1024 at most.
#[derive(Debug)]
pub(super) struct CountRing {
    head: AtomicU64,
    notes: [AtomicU64; (INDEX_MASK as usize + 1) / IN_A_WORD as usize],
}

/// What the head says, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head(u64);

/// One bit that it failed, one that it was slow; neither stands for no call as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Call(u32);

impl Default for CountRing {
    fn default() -> Self {
        let head = Head::empty(0, Call::default());
        Self { head: AtomicU64::new(head.0), notes: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl CountRing {
    /// Counts a call; the head says what the window holds with it as the last. `None`: it is of an earlier series, and is
    /// dropped.
    pub(super) fn add(&self, frame: Frame, sample: Sample) -> Option<Head> {
        let call = Call::new(sample);
        loop {
            let head = self.head();
            let notes = self.notes_of(head.index()).load(Ordering::Acquire);
            if noted(notes, head.index()) != head.last() {
                // Whoever counted it was paused. Only notes that were read while the head stood there are of this lap.
                if self.head() == head {
                    self.note(head, notes);
                }
                continue;
            }
            if head.series() != frame.series() {
                let ahead = head.series().wrapping_sub(frame.series()) & SERIES_MASK;
                if !head.is_empty() && ahead <= LATE_SERIES {
                    return None;
                }
                self.advance(head, self.begun(frame.series()));
                continue;
            }
            let next = head.followed_by(call, self.replaced_after(head, frame.calls()));
            let notes = self.notes_of(next.index()).load(Ordering::Acquire);
            if self.advance(head, next) {
                if noted(notes, next.index()) != call {
                    self.note(next, notes);
                }
                return Some(next);
            }
        }
    }

    /// What the window holds.
    pub(super) fn totals(&self, frame: Frame) -> Totals {
        let head = self.head();
        if head.series() == frame.series() { head.totals(frame.calls()) } else { Totals::default() }
    }

    #[inline]
    fn head(&self) -> Head {
        Head(self.head.load(Ordering::Acquire))
    }

    /// What falls out of a window of so many calls as the next one comes.
    fn replaced_after(&self, head: Head, calls: u32) -> Call {
        if head.counted() < calls {
            return Call::default();
        }
        let index = (head.index() + 1).wrapping_sub(calls) & INDEX_MASK;
        noted(self.notes_of(index).load(Ordering::Acquire), index)
    }

    fn advance(&self, from: Head, to: Head) -> bool {
        self.head.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Writes down the last call, beside what was noted before. Where that has changed, another has done it.
    fn note(&self, head: Head, notes: u64) {
        let shift = shift(head.index());
        let noted = (notes & !(3 << shift) | u64::from(head.last().0) << shift).wrapping_add(SEQUENCE_ONE);
        let _ = self.notes_of(head.index()).compare_exchange(notes, noted, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// An empty window of another series. Its last call is the one before the first: what is noted there is no call of
    /// it, and stays.
    fn begun(&self, series: u32) -> Head {
        let last = noted(self.notes_of(INDEX_MASK).load(Ordering::Acquire), INDEX_MASK);
        Head::empty(series, last)
    }

    #[inline]
    fn notes_of(&self, index: u32) -> &AtomicU64 {
        // The index has ten bits: the rest is there for the compiler to see that.
        &self.notes[(index / IN_A_WORD) as usize % self.notes.len()]
    }
}

fn shift(index: u32) -> u32 {
    index % IN_A_WORD * 2
}

fn noted(notes: u64, index: u32) -> Call {
    Call((notes >> shift(index)) as u32 & 3)
}

impl Head {
    /// That of a window with nothing counted; its last call is the one before the first.
    fn empty(series: u32, last: Call) -> Self {
        let index = u64::from(INDEX_MASK) << INDEX_SHIFT;
        Self(u64::from(series) << SERIES_SHIFT | index | u64::from(last.0))
    }

    fn series(self) -> u32 {
        (self.0 >> SERIES_SHIFT) as u32
    }

    /// How often all places have been gone through.
    fn lap(self) -> u32 {
        (self.0 >> LAP_SHIFT) as u32 & LAPS
    }

    /// Where the last call stands.
    #[inline]
    fn index(self) -> u32 {
        (self.0 >> INDEX_SHIFT) as u32 & INDEX_MASK
    }

    fn failures(self) -> u32 {
        (self.0 >> FAILURES_SHIFT) as u32 & SUM_MASK
    }

    fn slow(self) -> u32 {
        (self.0 >> SLOW_SHIFT) as u32 & SUM_MASK
    }

    #[inline]
    fn last(self) -> Call {
        Call(self.0 as u32 & 3)
    }

    /// Whether nothing is counted yet. Nobody is late for it.
    fn is_empty(self) -> bool {
        self.lap() == 0 && self.index() == INDEX_MASK
    }

    /// What a window of so many calls holds.
    pub(super) fn totals(self, calls: u32) -> Totals {
        let calls = calls.min(self.counted());
        Totals {
            successes: u64::from(calls.saturating_sub(self.failures())),
            failures: u64::from(self.failures()),
            slow: u64::from(self.slow()),
        }
    }

    /// How many calls were counted, as far as the places go.
    fn counted(self) -> u32 {
        if self.lap() > 0 { INDEX_MASK + 1 } else { (self.index() + 1) & INDEX_MASK }
    }

    /// The head once another call is counted, as which an earlier one falls out.
    #[inline]
    fn followed_by(self, call: Call, replaced: Call) -> Self {
        let index = (self.index() + 1) & INDEX_MASK;
        let lap = if index == INDEX_MASK { self.lap() % LAPS + 1 } else { self.lap() };
        let place = u64::from(lap) << LAP_SHIFT | u64::from(index) << INDEX_SHIFT;
        let rest = self.0 & !(PLACE_MASK | 3) | place | u64::from(call.0);
        if call == replaced {
            return Self(rest);
        }
        let failures = (self.failures() + call.failures()).saturating_sub(replaced.failures()) & SUM_MASK;
        let slow = (self.slow() + call.slow()).saturating_sub(replaced.slow()) & SUM_MASK;
        Self(rest & !SUMS_MASK | u64::from(failures) << FAILURES_SHIFT | u64::from(slow) << SLOW_SHIFT)
    }
}

impl Call {
    fn new(sample: Sample) -> Self {
        Self(u32::from(sample.is_failure) << 1 | u32::from(sample.is_slow))
    }

    fn failures(self) -> u32 {
        self.0 >> 1
    }

    fn slow(self) -> u32 {
        self.0 & 1
    }
}

#[cfg(test)]
mod tests;
