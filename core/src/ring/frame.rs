//! How time is cut into ticks, and which ticks belong together.
//!
//! Ticks of one width and one generation of a breaker are a *series*; each change of either begins another. A series has a
//! number, which the cells carry: the sum of the generation and of how often the width has changed. Both only grow, so
//! what somebody counts whose generation or width is of before a change has a smaller number than what is counted after,
//! and is never taken for it. The number has 19 bits, as the breaker's generation has: a cell would have to stay in a
//! window for exactly 2^19 changes.
//!
//! Nothing is written while a breaker is open, so a cell may be any number of series old. Whoever finds one that is a
//! little ahead is late ([`LATE_SERIES`]); everything else is old, and taken over.

use super::{FEW, MANY};
use crate::sync::{AtomicU64, Ordering::SeqCst};
use crate::time::Timestamp;
use std::time::Duration;

const LENGTH_BITS: u32 = 37;
const BUCKETS_BITS: u32 = 8;
const SHAPE_BITS: u32 = LENGTH_BITS + BUCKETS_BITS;
const SHAPE_MASK: u64 = (1 << SHAPE_BITS) - 1;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;
const BUCKETS_MASK: u64 = (1 << BUCKETS_BITS) - 1;

/// How many series ahead of a writer a cell may be for the writer to be late. It would have to be paused for more changes
/// than this, between reading the generation and counting, to be taken for the newer one; and a cell to rest for all but
/// so many of half a million, to be taken for one of the future.
pub(crate) const LATE_SERIES: u32 = 1 << 12;

/// A row of ticks that belong together: `[series 19 | buckets 8 | length 37]`, the length that of all buckets, in
/// microseconds, up to 38 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame(u64);

/// A tick of a series, as cells carry it: `[series 19 | round 35]`. The round is how often the ticks have gone through
/// all cells: the rest of a tick is which cell it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64);

/// The length of windows, and their buckets: a frame without its series. No buckets: not of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape(u64);

/// The frame in force.
#[derive(Debug, Default)]
pub(crate) struct Scale(AtomicU64);

impl Shape {
    pub(crate) fn new(length: Duration, buckets: u32) -> Self {
        let micros = length.as_secs().saturating_mul(1_000_000).saturating_add(length.subsec_micros().into());
        Self(u64::from(buckets.min(MANY as u32 - 1)) << LENGTH_BITS | micros.min(LENGTH_MASK))
    }
}

impl Scale {
    pub(crate) fn new(Shape(shape): Shape) -> Self {
        Self(AtomicU64::new(shape))
    }

    /// The present frame of a generation.
    #[inline]
    pub(crate) fn frame(&self, generation: u32) -> Frame {
        Frame(self.0.load(SeqCst).wrapping_add(u64::from(generation) << SHAPE_BITS))
    }

    /// Puts windows of a shape in force. Where it is another than the last, it begins a series. For whoever puts a policy
    /// in force, and not for calls: one that still goes by the old policy would begin yet another.
    pub(crate) fn advance(&self, Shape(shape): Shape) {
        let mut word = self.0.load(SeqCst);
        while word & SHAPE_MASK != shape {
            let next = (word & !SHAPE_MASK).wrapping_add(1 << SHAPE_BITS) | shape;
            word = match self.0.compare_exchange(word, next, SeqCst, SeqCst) {
                Ok(_) => next,
                Err(other) => other,
            };
        }
    }
}

impl Frame {
    /// The whole of it: two that are equal are the same.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Whether it has no buckets: there is nothing to count by time.
    pub(crate) fn is_of_calls(self) -> bool {
        self.buckets() == 0
    }

    /// Of a frame without buckets, how many calls it stands for: as many as it has microseconds.
    #[inline]
    pub(crate) fn calls(self) -> u32 {
        (self.0 & LENGTH_MASK) as u32
    }

    #[inline]
    pub(crate) fn series(self) -> u32 {
        (self.0 >> SHAPE_BITS) as u32
    }

    pub(crate) fn buckets(self) -> u32 {
        (self.0 >> LENGTH_BITS & BUCKETS_MASK) as u32
    }

    /// The length of all buckets.
    pub(crate) fn length_in_millis(self) -> u64 {
        (self.0 & LENGTH_MASK) / 1_000
    }

    /// The tick of a time.
    pub(crate) fn tick(self, now: Timestamp) -> u64 {
        now.as_nanos() / self.width()
    }

    /// Nanoseconds of a tick, at least 1.
    pub(super) fn width(self) -> u64 {
        ((self.0 & LENGTH_MASK) * 1_000 / u64::from(self.buckets().max(1))).max(1)
    }

    pub(super) fn is_small(self) -> bool {
        (self.buckets() as usize) < FEW
    }

    /// How many ticks there are cells for beside the window's.
    pub(super) fn spare(self) -> u64 {
        (self.cells() as u64).saturating_sub(u64::from(self.buckets()))
    }

    pub(super) fn id(self, tick: u64) -> Id {
        let rounds = if self.is_small() { tick / FEW as u64 } else { tick / MANY as u64 };
        Id(self.0 >> SHAPE_BITS << Id::ROUND_BITS | (rounds & Id::ROUND_MASK))
    }

    fn cells(self) -> usize {
        if self.is_small() { FEW } else { MANY }
    }
}

impl Id {
    const SERIES_BITS: u32 = u64::BITS - SHAPE_BITS;
    const ROUND_BITS: u32 = 35;
    const ROUND_MASK: u64 = (1 << Self::ROUND_BITS) - 1;
    pub(super) const BITS: u32 = Self::SERIES_BITS + Self::ROUND_BITS;
    /// How many rounds ahead of a writer its cell may be for the writer to be late. What is further ahead no clock has
    /// come to: it was written by one that had gone wrong.
    const LATE_ROUNDS: u64 = 1 << 20;

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether a writer of `self` comes too late for a cell that is at `other`.
    pub(super) fn is_before(self, other: Self) -> bool {
        let changes = (other.series().wrapping_sub(self.series())) & ((1 << Self::SERIES_BITS) - 1);
        let rounds = other.0.wrapping_sub(self.0) & Self::ROUND_MASK;
        match changes {
            0 => (1..=Self::LATE_ROUNDS).contains(&rounds),
            _ => changes <= LATE_SERIES.into(),
        }
    }

    fn series(self) -> u64 {
        self.0 >> Self::ROUND_BITS
    }
}
