//! The breaker's state as one 64-bit word: `[state 2][ordered 1][generation 19][payload 42]`.
//!
//! | state | payload |
//! |---|---|
//! | closed | consecutive failures 10 |
//! | open | reopenings 10, by hand 1, open time in milliseconds 31 (24 days) |
//! | half-open | reopenings 10, failures 10, successes 10, in flight 10 |
//!
//! The generation counts transitions and wraps: a permit would have to stay out for exactly 2^19 of them to be taken
//! for a fresh one. An ordered breaker is under an order that stands over its rules, or was until lately.
//!
//! A [`Word`] stays as it is stored: of what it says only that is taken out which somebody asks for, and a change leaves
//! the other bits where they are.

/// The largest count of consecutive failures, and of each half-open number, that the word holds.
pub(super) const MAX_CONSECUTIVE: u32 = MASK10 as u32;
/// The largest count of reopenings; the open time has reached its bound long before, unless it hardly grows.
pub(super) const MAX_REOPENS: u32 = MASK10 as u32;
/// The longest time, in milliseconds, that the word holds from the opening to the end of the wait.
pub(super) const MAX_WAIT: u64 = (1 << WAIT_BITS) - 1;

const GENERATION_BITS: u32 = 19;
const PAYLOAD_BITS: u32 = 42;
const WAIT_BITS: u32 = 31;
const REOPENS_SHIFT: u32 = WAIT_BITS + 1;
const ORDERED_BIT: u32 = GENERATION_BITS + PAYLOAD_BITS;
const STATE_SHIFT: u32 = ORDERED_BIT + 1;
const MASK10: u64 = 0x3ff;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
/// The state bits that no state has.
const NO_WORD: u64 = 3 << STATE_SHIFT;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

/// What an admission is: a generation and a kind. The usual one, of a call that a breaker at rest has admitted, is the
/// word that admitted it, so that a success looks at whether the word is still the same and knows all. Any other has the
/// state bits that no word has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

/// What an admission may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Admitted by a closed breaker.
    Call,
    /// Admitted by a half-open breaker: holds one of its slots.
    Probe,
    /// Admitted whatever the state: teaches the breaker nothing.
    Untracked,
    /// Has been recorded.
    Settled,
}

impl Token {
    /// That of a call, where the word is at rest.
    #[inline]
    pub(super) fn at_rest(word: Word) -> Option<Self> {
        word.is_at_rest().then_some(Self(word.0))
    }

    #[inline]
    pub(super) fn new(generation: u32, kind: Kind) -> Self {
        Self(NO_WORD | u64::from(generation) << PAYLOAD_BITS | kind as u64)
    }

    /// Whether it is that of a call and the word is at rest, still or again, in its generation.
    #[inline]
    pub(super) fn is_at_rest(self, word: Word) -> bool {
        self.0 == word.0
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        (self.0 >> PAYLOAD_BITS & GENERATION_MASK) as u32
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        match self.0 & !(GENERATION_MASK << PAYLOAD_BITS) {
            PROBE => Kind::Probe,
            UNTRACKED => Kind::Untracked,
            SETTLED => Kind::Settled,
            _ => Kind::Call,
        }
    }
}

const PROBE: u64 = NO_WORD | Kind::Probe as u64;
const UNTRACKED: u64 = NO_WORD | Kind::Untracked as u64;
const SETTLED: u64 = NO_WORD | Kind::Settled as u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed {
        consecutive: u32,
    },
    Open {
        wait: u64,
        reopens: u32,
        /// Whether an operator gave a time, or tripped it once more, since it opened: no policy shortens what is left then.
        by_hand: bool,
    },
    HalfOpen {
        in_flight: u32,
        successes: u32,
        failures: u32,
        reopens: u32,
    },
}

impl Word {
    /// Closed, of generation zero, under no order.
    pub(super) const INITIAL: Self = Self(CLOSED << STATE_SHIFT);

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        (self.0 >> PAYLOAD_BITS & GENERATION_MASK) as u32
    }

    #[inline]
    pub(super) fn previous_generation(self) -> u32 {
        self.generation().wrapping_sub(1) & GENERATION_MASK as u32
    }

    pub(super) fn next_generation(self) -> u32 {
        (self.generation() + 1) & GENERATION_MASK as u32
    }

    #[inline]
    pub(super) fn is_ordered(self) -> bool {
        self.0 >> ORDERED_BIT & 1 == 1
    }

    #[inline]
    pub(super) fn phase(self) -> Phase {
        let ten = |shift: u32| (self.0 >> shift & MASK10) as u32;
        match self.0 >> STATE_SHIFT {
            OPEN => Phase::Open {
                wait: self.0 & MAX_WAIT,
                reopens: ten(REOPENS_SHIFT),
                by_hand: self.0 >> WAIT_BITS & 1 == 1,
            },
            HALF_OPEN => Phase::HalfOpen { in_flight: ten(0), successes: ten(10), failures: ten(20), reopens: ten(30) },
            _ => Phase::Closed { consecutive: ten(0) },
        }
    }

    /// The generation of a closed word under no order: the only one with no bit above the generation's.
    #[inline]
    pub(super) fn generation_if_plain(self) -> Option<u32> {
        u32::try_from(self.0 >> PAYLOAD_BITS).ok().filter(|generation| *generation <= GENERATION_MASK as u32)
    }

    /// Whether it is closed, under no order, and without a failure since the last success: it is its generation's bits and
    /// no other.
    #[inline]
    pub(super) fn is_at_rest(self) -> bool {
        self.0 & !(GENERATION_MASK << PAYLOAD_BITS) == 0
    }

    /// The generation of an open word under no order, and for how many milliseconds it is open.
    #[inline]
    pub(super) fn wait_if_open(self) -> Option<(u32, u64)> {
        (self.0 >> ORDERED_BIT == OPEN << 1).then_some((self.generation(), self.0 & MAX_WAIT))
    }

    /// The same in another phase, of the same generation. Numbers that are too large become the largest.
    #[inline]
    pub(super) fn with(self, phase: Phase) -> Self {
        Self(self.0 & (1 << ORDERED_BIT | GENERATION_MASK << PAYLOAD_BITS) | phase.bits())
    }

    /// The same in a phase of the next generation.
    #[inline]
    pub(super) fn next(self, phase: Phase) -> Self {
        let generation = u64::from(self.next_generation()) << PAYLOAD_BITS;
        Self(self.0 & 1 << ORDERED_BIT | generation | phase.bits())
    }

    /// The same under an order, or under none.
    #[inline]
    pub(super) fn ordered(self, is_ordered: bool) -> Self {
        Self(self.0 & !(1 << ORDERED_BIT) | u64::from(is_ordered) << ORDERED_BIT)
    }
}

impl Phase {
    /// The state and its numbers where the word has them.
    #[inline]
    fn bits(self) -> u64 {
        let ten = |count: u32| u64::from(count).min(MASK10);
        match self {
            Self::Closed { consecutive } => CLOSED << STATE_SHIFT | ten(consecutive),
            Self::Open { wait, reopens, by_hand } => {
                let by_hand = u64::from(by_hand) << WAIT_BITS;
                OPEN << STATE_SHIFT | ten(reopens) << REOPENS_SHIFT | by_hand | wait.min(MAX_WAIT)
            }
            Self::HalfOpen { in_flight, successes, failures, reopens } => {
                let numbers = ten(reopens) << 30 | ten(failures) << 20 | ten(successes) << 10 | ten(in_flight);
                HALF_OPEN << STATE_SHIFT | numbers
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(generation: u32, phase: Phase, is_ordered: bool) -> Word {
        Word::from_bits(u64::from(generation) << PAYLOAD_BITS).with(phase).ordered(is_ordered)
    }

    #[test]
    fn a_word_says_what_was_put_into_it() {
        let phases = [
            Phase::Closed { consecutive: 0 },
            Phase::Closed { consecutive: MAX_CONSECUTIVE },
            Phase::Open { wait: 0, reopens: 0, by_hand: true },
            Phase::Open { wait: MAX_WAIT, reopens: MAX_REOPENS, by_hand: false },
            Phase::HalfOpen { in_flight: 1, successes: 2, failures: 3, reopens: 4 },
            Phase::HalfOpen { in_flight: 1023, successes: 1023, failures: 1023, reopens: MAX_REOPENS },
        ];
        for generation in [0, 1, GENERATION_MASK as u32] {
            for phase in phases {
                for is_ordered in [false, true] {
                    let word = word(generation, phase, is_ordered);
                    assert_eq!((word.generation(), word.phase(), word.is_ordered()), (generation, phase, is_ordered));
                    let next = word.next(Phase::Closed { consecutive: 7 });
                    assert_eq!((next.generation(), next.is_ordered()), (word.next_generation(), is_ordered));
                    assert_eq!(next.phase(), Phase::Closed { consecutive: 7 });
                    assert_eq!(word.ordered(!is_ordered).ordered(is_ordered), word);
                }
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_saturate_and_touch_no_neighbour() {
        let phase = Phase::Open { wait: u64::MAX, reopens: u32::MAX, by_hand: false };
        let word = word(7, phase, false);
        let phase = Phase::Open { wait: MAX_WAIT, reopens: MAX_REOPENS, by_hand: false };
        assert_eq!((word.generation(), word.phase(), word.is_ordered()), (7, phase, false));
    }

    #[test]
    fn the_short_cuts_say_what_the_whole_word_says() {
        for generation in [0, 1, 77, GENERATION_MASK as u32] {
            for phase in [
                Phase::Closed { consecutive: 0 },
                Phase::Closed { consecutive: 1 },
                Phase::Closed { consecutive: MAX_CONSECUTIVE },
                Phase::Open { wait: 7, reopens: MAX_REOPENS, by_hand: true },
                Phase::HalfOpen { in_flight: 0, successes: 0, failures: 0, reopens: 0 },
            ] {
                for is_ordered in [false, true] {
                    let word = word(generation, phase, is_ordered);
                    let closed = (matches!(phase, Phase::Closed { .. }) && !is_ordered).then_some(generation);
                    let open = (matches!(phase, Phase::Open { .. }) && !is_ordered).then_some((generation, 7));
                    assert_eq!((word.generation_if_plain(), word.wait_if_open()), (closed, open));
                    let rests = phase == Phase::Closed { consecutive: 0 } && !is_ordered;
                    assert_eq!(word.is_at_rest(), rests);
                }
            }
        }
    }

    #[test]
    fn tokens_know_their_generation_and_kind_and_no_word_is_one_but_that_at_rest() {
        for generation in [0, 1, 77, GENERATION_MASK as u32] {
            let rest = word(generation, Phase::Closed { consecutive: 0 }, false);
            let token = Token::at_rest(rest).unwrap();
            assert_eq!((token.generation(), token.kind(), token.is_at_rest(rest)), (generation, Kind::Call, true));
            let failed = rest.with(Phase::Closed { consecutive: 1 });
            assert_eq!((Token::at_rest(failed), token.is_at_rest(failed)), (None, false));
            for kind in [Kind::Call, Kind::Probe, Kind::Untracked, Kind::Settled] {
                let token = Token::new(generation, kind);
                assert_eq!((token.generation(), token.kind(), token.is_at_rest(rest)), (generation, kind, false));
                assert!(![CLOSED, OPEN, HALF_OPEN].contains(&(token.0 >> STATE_SHIFT)));
            }
        }
    }

    #[test]
    fn the_generation_wraps() {
        let last = word(GENERATION_MASK as u32, Phase::Closed { consecutive: 0 }, false);
        assert_eq!(last.next_generation(), 0);
    }
}
