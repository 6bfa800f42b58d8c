//! The steps of a run, as the bits of random numbers say: so that millions of them are quick to draw.

use super::naive::End;
use crate::hold::Forced;
use crate::outcome::Outcome;
use crate::policy::BreakerMode;

#[derive(Debug)]
pub(super) enum Step {
    /// Asks for leave, through the ramp or past it.
    Ask { share: u64, ramps: bool },
    /// Ends one of the calls that are out.
    End { which: usize, end: End, share: u64 },
    /// Drops the admission of one.
    Drop { which: usize },
    /// Lets time pass, in nanoseconds.
    Pass(u64),
    /// Goes to where the present wait is over, or the present bucket; or to the nanosecond before.
    ToDeadline { early: u64 },
    /// Puts another of the run's policies in force.
    Apply { which: usize },
    /// Sets the mode, for so long or for good.
    Mode { mode: BreakerMode, length: Option<u64> },
    /// Puts up these holds in the place of those before, each for so long or for good.
    Holds([Option<(Forced, Option<u64>)>; 2]),
    /// Opens by hand, for so long or for the policy's time.
    Trip { length: Option<u64>, share: u64 },
    /// Closes by hand.
    Reset,
    /// Compares what the windows hold: a step of its own, for it takes the model longest.
    Count,
}

impl Step {
    pub(super) fn decode(bits: u64) -> Self {
        let field = |from: u32, width: u32| bits >> from & ((1 << width) - 1);
        let (which, share) = (field(8, 16) as usize, field(24, 6));
        match field(0, 5) {
            0..=10 => Self::Ask { share, ramps: field(30, 1) == 1 },
            11..=24 => {
                let outcomes = [Outcome::Failure, Outcome::Success, Outcome::Neutral];
                let outcome = outcomes[[0, 0, 0, 0, 1, 1, 1, 2][field(32, 3) as usize]];
                Self::End { which, end: End { outcome, slow: field(36, 2) == 0 }, share }
            }
            25 => Self::Drop { which },
            26 => Self::Pass(field(32, 20)),
            27 => Self::Pass(field(32, 30)),
            28 => Self::Pass(field(32, 32) * 10),
            29 => Self::ToDeadline { early: field(40, 1) },
            30 if field(32, 5) == 0 => Self::Pass(field(40, 24) * 50_000_000),
            30 => Self::ToDeadline { early: 0 },
            _ => Self::decode_rare(bits >> 8),
        }
    }

    /// What policies, operators and readers do.
    fn decode_rare(bits: u64) -> Self {
        let field = |from: u32, width: u32| bits >> from & ((1 << width) - 1);
        let length = |from: u32| (field(from, 2) > 0).then(|| (field(from + 2, 14) << 20) + 1);
        match field(0, 4) {
            0..=2 => Self::Apply { which: field(8, 8) as usize },
            3 | 4 => {
                let modes =
                    [BreakerMode::Auto, BreakerMode::MetricsOnly, BreakerMode::Disabled, BreakerMode::ForcedOpen];
                Self::Mode { mode: modes[field(8, 2) as usize], length: length(16) }
            }
            5 => {
                let forced = [Forced::Open, Forced::Closed, Forced::Disabled, Forced::MetricsOnly];
                let hold = |from: u32| (forced[field(from, 2) as usize], length(from + 2));
                Self::Holds([field(4, 1), field(5, 1)].map(|is_one| is_one == 1).map(|is_one| is_one.then(|| hold(8))))
            }
            6 => Self::Trip { length: (field(8, 1) == 0).then(|| field(10, 30) * 16), share: field(40, 6) },
            7 => Self::Reset,
            _ => Self::Count,
        }
    }

    /// Mostly failures and ends of waits.
    pub(super) fn decode_outage(bits: u64) -> Self {
        match bits & 7 {
            0 | 1 => Self::ToDeadline { early: 0 },
            2..=4 => Self::decode(bits & !31),
            5 if bits & 0x1ff == 5 => Self::Count,
            _ => Self::decode(bits & !31 | 11),
        }
    }
}
