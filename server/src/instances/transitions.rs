//! How often breakers went from which state to which.

use cofferdam_core::breaker::State;

/// The ways from one state to another.
const WAYS: [(State, State); 6] = [
    (State::Closed, State::Open),
    (State::Closed, State::HalfOpen),
    (State::Open, State::HalfOpen),
    (State::Open, State::Closed),
    (State::HalfOpen, State::Open),
    (State::HalfOpen, State::Closed),
];

/// Counts of what breakers did, by the way from one state to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions([u64; WAYS.len()]);

impl Transitions {
    /// Each way, from and to, and how often it was gone.
    pub fn iter(&self) -> impl Iterator<Item = (State, State, u64)> + '_ {
        WAYS.into_iter().zip(self.0).map(|((from, to), count)| (from, to, count))
    }

    /// Adds those of another service.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }

    /// One more; nothing where it stayed as it was.
    pub(super) fn count(&mut self, from: State, to: State) {
        if let Some((_, count)) = WAYS.into_iter().zip(&mut self.0).find(|(way, _)| *way == (from, to)) {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_counted_for_itself() {
        let mut transitions = Transitions::default();
        transitions.count(State::Closed, State::Open);
        transitions.count(State::Open, State::Open);
        let mut sum = transitions;
        sum.merge(&transitions);
        assert_eq!(sum.iter().filter(|(.., count)| *count > 0).collect::<Vec<_>>(), [(State::Closed, State::Open, 2)]);
        for (from, to) in WAYS {
            sum.count(from, to);
        }
        assert_eq!(sum.iter().map(|(.., count)| count).collect::<Vec<_>>(), [3, 1, 1, 1, 1, 1]);
    }
}
