//! What there is to see beside the measured figures: what the director did last, and how the breakers are.

use super::script::STEPS;
use super::upstream::Fault;
use cofferdam_core::breaker::State;
use cofferdam_core::level::Level;
use std::fmt;
use std::time::Duration;

/// The demo at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Board {
    /// The step of the script that is on, or was on when somebody changed something by hand.
    pub step: usize,
    /// Whether somebody changed something by hand since.
    pub is_by_hand: bool,
    /// Whether the script waits.
    pub is_paused: bool,
    /// How far the script is.
    pub elapsed: Duration,
    /// How long it takes in all.
    pub total: Duration,
    /// The level that was last set.
    pub level: Level,
    /// What is wrong with the upstream.
    pub fault: Fault,
    /// The command that was last sent, as a line to type.
    pub command: String,
    /// What came of it.
    pub result: CommandResult,
    /// The breakers of the protected instances.
    pub breakers: Breakers,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CommandResult {
    /// It is under way.
    Sent,
    /// These many instances of so many have the policy in force, so long after the command was sent.
    Applied {
        /// Instances that have.
        instances: usize,
        /// Instances that there are.
        of: usize,
        /// Time from the command to the last of them.
        took: Duration,
        /// The revision that the command made, or found.
        revision: u64,
    },
}

/// How many protected instances have a breaker in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breakers {
    /// Instances with a closed one.
    pub closed: usize,
    /// Instances with a half-open one.
    pub half_open: usize,
    /// Instances with an open one.
    pub open: usize,
}

impl Board {
    /// What to look at, for people.
    pub(crate) fn note(&self) -> &'static str {
        if self.is_by_hand {
            return "By hand. The script waits: p goes on with it, and begins this step anew.";
        }
        STEPS.get(self.step).map_or("", |step| step.note)
    }
}

impl Breakers {
    /// Counts the states of some instances. `None`: no breaker is in force.
    pub(crate) fn count(states: impl IntoIterator<Item = Option<State>>) -> Self {
        let mut breakers = Self::default();
        for state in states.into_iter().flatten() {
            match state {
                State::Closed => breakers.closed += 1,
                State::HalfOpen => breakers.half_open += 1,
                State::Open => breakers.open += 1,
            }
        }
        breakers
    }
}

impl fmt::Display for Breakers {
    /// The states that there are, worst first, in at most 27 characters: `open 4 of 4`, or `open 3 half-open 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.closed + self.half_open + self.open;
        let states = [(self.open, "open"), (self.half_open, "half-open"), (self.closed, "closed")];
        if all == 0 {
            return f.write_str("not in force");
        }
        if let Some((_, name)) = states.into_iter().find(|(count, _)| *count == all) {
            return write!(f, "{name} {all} of {all}");
        }
        let mut separator = "";
        for (count, name) in states.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{name} {count}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Display for CommandResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent => f.write_str("sent"),
            Self::Applied { instances, of, took, revision } => {
                let millis = took.as_secs_f64() * 1e3;
                write!(f, "revision {revision} applied on {instances} of {of} instances in {millis:.1} ms")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakers_are_told_worst_first() {
        let states = [Some(State::Closed), Some(State::Open), Some(State::HalfOpen), Some(State::Open)];
        assert_eq!(Breakers::count(states).to_string(), "open 2 half-open 1 closed 1");
        assert_eq!(Breakers::count([Some(State::Closed); 4]).to_string(), "closed 4 of 4");
        assert_eq!(Breakers::count([None; 4]).to_string(), "not in force");
    }

    #[test]
    fn a_result_says_how_many_and_how_fast() {
        let result = CommandResult::Applied { instances: 4, of: 4, took: Duration::from_micros(3240), revision: 7 };
        assert_eq!(result.to_string(), "revision 7 applied on 4 of 4 instances in 3.2 ms");
    }
}
