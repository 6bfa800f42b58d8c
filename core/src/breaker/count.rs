//! The window of the last so many calls.
//!
//! A last-N window cannot be cut into stripes: which call falls out depends on the order of all. So the order is one word,
//! the head: `[series 19 | lap 11 | index 10 | failures 11 | slow 11 | last 2]`. It says which call was the last, what it
//! was, and what all that are in the window are in sum, so a decision reads one word, however large the window is. To
//! count a call is one compare-and-swap of the head. That is the moment at which it counts, for everybody: whoever counted
//! it decides by the head as it was then, whatever others have counted since.
//!
//! What each call was is written down beside, two bits each: whoever comes to the same index a lap later has to know what
//! it replaces. It is written after the head has moved, and only where it is not there already: a success that takes the
//! place of a success has nothing to write. So all but the last call of the head are written down, always: whoever wants to
//! move the head first sees to that of the last, for whoever counted it, and nobody waits for a caller that was paused in
//! between. A word of sixteen calls has a sequence, so that who comes late with the same writes nothing.
//!
//! The window validates itself by the [series](crate::ring) in the head: the first writer of a later one begins a lap with
//! nothing counted, in which what is written down is replaced and never subtracted; nothing is ever swept. A writer of an
//! earlier series is late, and what it brings is dropped. How many calls it holds is of the series as well, so one ring
//! serves them all.
//!
//! A caller would have to be paused between two reads for a multiple of 2^11 - 1 laps, or of 2^19 series, and find the
//! same sums, to be taken for one of the present lap.

use super::window::{Sample, Totals};
use crate::ring::{Frame, LATE_SERIES};
use crate::sync::{AtomicU64, Ordering};

const SERIES_MASK: u32 = (1 << 19) - 1;
/// The laps that follow the first, which alone is number zero.
const LAPS: u32 = (1 << 11) - 1;
const INDEX_MASK: u32 = (1 << 10) - 1;
const SUM_MASK: u32 = (1 << 11) - 1;
/// Calls that a word of the notes holds, beside its sequence.
const IN_A_WORD: u32 = 16;
const SEQUENCE_ONE: u64 = 1 << 32;

/// The outcomes of the last so many calls, 1024 at most.
#[derive(Debug)]
pub(super) struct CountRing {
    head: AtomicU64,
    notes: [AtomicU64; (INDEX_MASK as usize + 1) / IN_A_WORD as usize],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    series: u32,
    /// How often the window has been full.
    lap: u32,
    /// Where the last call stands.
    index: u32,
    failures: u32,
    slow: u32,
    last: Call,
}

/// One bit that it failed, one that it was slow; none of both stands for no call as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Call(u32);

impl Default for CountRing {
    fn default() -> Self {
        let head = Head { series: 0, lap: 0, index: INDEX_MASK, failures: 0, slow: 0, last: Call::default() };
        Self { head: AtomicU64::new(head.pack()), notes: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl CountRing {
    /// Counts a call; says what the window holds with it as the last. `None`: it is of an earlier series, and is dropped.
    pub(super) fn add(&self, frame: Frame, sample: Sample) -> Option<Totals> {
        let call = Call::new(sample);
        loop {
            let word = self.head.load(Ordering::Acquire);
            let head = Head::unpack(word);
            let notes = self.notes_of(head.index).load(Ordering::Acquire);
            if noted(notes, head.index) != head.last {
                // Whoever counted it was paused. Only notes that were read while the head stood there are of this lap.
                if self.head.load(Ordering::Acquire) == word {
                    self.note(head, notes);
                }
                continue;
            }
            if head.series != frame.series() {
                let ahead = head.series.wrapping_sub(frame.series()) & SERIES_MASK;
                if !head.is_empty() && ahead <= LATE_SERIES {
                    return None;
                }
                self.advance(word, self.begun(frame.series()));
                continue;
            }
            let index = head.next_index(frame.calls());
            let notes = self.notes_of(index).load(Ordering::Acquire);
            let next = head.after(index, call, noted(notes, index), frame.calls());
            if self.advance(word, next) {
                if noted(notes, index) != call {
                    self.note(next, notes);
                }
                return Some(next.totals(frame.calls()));
            }
        }
    }

    /// What the window holds.
    pub(super) fn totals(&self, frame: Frame) -> Totals {
        let head = Head::unpack(self.head.load(Ordering::Acquire));
        if head.series == frame.series() { head.totals(frame.calls()) } else { Totals::default() }
    }

    fn advance(&self, from: u64, to: Head) -> bool {
        self.head.compare_exchange(from, to.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Writes down the last call, beside what was noted before. Where that has changed, another has done it.
    fn note(&self, head: Head, notes: u64) {
        let shift = shift(head.index);
        let noted = (notes & !(3 << shift) | u64::from(head.last.0) << shift).wrapping_add(SEQUENCE_ONE);
        let _ = self.notes_of(head.index).compare_exchange(notes, noted, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// An empty window of another series. Its last call is the one before the first: what is noted there is no call of
    /// it, and stays.
    fn begun(&self, series: u32) -> Head {
        let last = noted(self.notes_of(INDEX_MASK).load(Ordering::Acquire), INDEX_MASK);
        Head { series, lap: 0, index: INDEX_MASK, failures: 0, slow: 0, last }
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
    /// Whether nothing is counted yet. Nobody is late for it.
    fn is_empty(self) -> bool {
        self.lap == 0 && self.index == INDEX_MASK
    }

    /// What a window of so many calls holds.
    fn totals(self, calls: u32) -> Totals {
        let calls = if self.lap > 0 { calls } else { (self.index + 1) & INDEX_MASK };
        Totals {
            successes: u64::from(calls.saturating_sub(self.failures)),
            failures: u64::from(self.failures),
            slow: u64::from(self.slow),
        }
    }

    /// Where the next call of so many stands.
    fn next_index(self, calls: u32) -> u32 {
        let next = (self.index + 1) & INDEX_MASK;
        if next < calls { next } else { 0 }
    }

    /// The head once another call is counted, which takes the place of what is noted there.
    fn after(self, index: u32, call: Call, noted: Call, calls: u32) -> Self {
        let replaced = if self.lap > 0 { noted } else { Call::default() };
        let lap = match index + 1 == calls {
            false => self.lap,
            true => self.lap % LAPS + 1,
        };
        Self {
            series: self.series,
            lap,
            index,
            failures: (self.failures + call.failures()).saturating_sub(replaced.failures()),
            slow: (self.slow + call.slow()).saturating_sub(replaced.slow()),
            last: call,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.series) << 45
            | u64::from(self.lap) << 34
            | u64::from(self.index) << 24
            | u64::from(self.failures & SUM_MASK) << 13
            | u64::from(self.slow & SUM_MASK) << 2
            | u64::from(self.last.0)
    }

    fn unpack(word: u64) -> Self {
        Self {
            series: (word >> 45) as u32,
            lap: (word >> 34) as u32 & LAPS,
            index: (word >> 24) as u32 & INDEX_MASK,
            failures: (word >> 13) as u32 & SUM_MASK,
            slow: (word >> 2) as u32 & SUM_MASK,
            last: Call(word as u32 & 3),
        }
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
