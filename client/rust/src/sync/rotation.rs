//! Which of several managers to go to.
//!
//! All of them serve the same services, so any one will do: the first is chosen at random, and where it cannot be had,
//! each of the others is tried once, at once and in random order, before there is a pause. Instances that lose a manager
//! together so spread over those that are left, and those that a manager asks to come again spread over all: one that was
//! restarted gets its share.

use rand::seq::SliceRandom;
use std::time::Duration;
use tokio::time::Instant;

/// The managers of a process, by number, and the order in which they are tried.
#[derive(Debug)]
pub(super) struct Rotation {
    /// Those that are still to be tried in this round; the last is next.
    round: Vec<usize>,
    /// The one that is tried now.
    current: usize,
    /// When it is worth asking each again, where it has said so.
    not_before: Vec<Option<Instant>>,
}

impl Rotation {
    /// Begins with any of so many managers.
    pub(super) fn new(managers: usize) -> Self {
        let mut rotation = Self { round: Vec::new(), current: 0, not_before: vec![None; managers] };
        rotation.spread();
        rotation
    }

    /// The number of the one to go to now.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Goes to any of them.
    pub(super) fn spread(&mut self) {
        self.round = (0..self.not_before.len()).collect();
        self.round.shuffle(&mut rand::rng());
        self.current = self.round.pop().unwrap_or_default();
    }

    /// The present one was lost: goes to any of the others, and comes back to it last.
    pub(super) fn lose(&mut self) {
        let lost = self.current;
        self.round = (0..self.not_before.len()).filter(|manager| *manager != lost).collect();
        self.round.shuffle(&mut rand::rng());
        self.round.insert(0, lost);
        self.current = self.round.pop().unwrap_or_default();
    }

    /// The present one could not be had, and is not worth asking again for so long. Goes to the next that is: at once, or
    /// after a pause of at least so long where each was tried.
    pub(super) fn fail(&mut self, not_for: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let is_due = |not_before: &Option<Instant>| not_before.is_none_or(|at| at <= now);
        if let Some(not_before) = self.not_before.get_mut(self.current) {
            *not_before = not_for.map(|pause| now + pause);
        }
        while let Some(next) = self.round.pop() {
            if self.not_before.get(next).is_some_and(is_due) {
                self.current = next;
                return None;
            }
        }
        let soonest = self.not_before.iter().map(|at| at.unwrap_or(now).max(now)).min().unwrap_or(now);
        let in_time =
            |manager: &usize| self.not_before.get(*manager).is_some_and(|at| at.is_none_or(|at| at <= soonest));
        self.round = (0..self.not_before.len()).filter(in_time).collect();
        self.round.shuffle(&mut rand::rng());
        self.current = self.round.pop().unwrap_or_default();
        Some(soonest - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SECOND: Duration = Duration::from_secs(1);

    /// The managers of a round, from the present one on.
    fn round(rotation: &mut Rotation) -> Vec<usize> {
        let mut tried = vec![rotation.current()];
        while rotation.fail(None).is_none() {
            tried.push(rotation.current());
        }
        tried
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_tried_once_in_a_round_and_every_order_comes_up() {
        let mut orders = BTreeSet::new();
        for _ in 0..200 {
            let tried = round(&mut Rotation::new(3));
            assert_eq!(tried.iter().copied().collect::<BTreeSet<_>>().len(), 3, "{tried:?}");
            orders.insert(tried);
        }
        assert_eq!(orders.len(), 6, "{orders:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_lost_comes_last_and_one_that_asks_to_come_again_may_come_first() {
        let mut rotation = Rotation::new(3);
        let mut next = BTreeSet::new();
        for _ in 0..100 {
            let lost = rotation.current();
            rotation.lose();
            let tried = round(&mut rotation);
            assert_eq!((tried.len(), tried[2]), (3, lost));
            rotation.spread();
            next.insert(rotation.current());
        }
        assert_eq!(next.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_no_room_is_left_alone_for_as_long_as_it_says() {
        let mut rotation = Rotation::new(2);
        let full = rotation.current();
        assert_eq!(rotation.fail(Some(8 * SECOND)), None);
        assert_eq!(rotation.fail(None), Some(Duration::ZERO), "the other may be back at any time");
        assert_ne!(rotation.current(), full);
        assert_eq!(rotation.fail(Some(20 * SECOND)), Some(8 * SECOND), "the first is the sooner one");
        assert_eq!(rotation.current(), full);
        tokio::time::advance(20 * SECOND).await;
        assert_eq!(rotation.fail(None), Some(Duration::ZERO));
        assert_eq!(round(&mut rotation).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn alone_there_is_a_pause_after_each_attempt() {
        let mut rotation = Rotation::new(1);
        assert_eq!(rotation.fail(None), Some(Duration::ZERO));
        assert_eq!(rotation.fail(Some(SECOND)), Some(SECOND));
        rotation.lose();
        assert_eq!(rotation.current(), 0);
    }
}
