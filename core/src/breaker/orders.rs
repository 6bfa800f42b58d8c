//! What stands over a breaker's rules: the policy's mode, and the holds of operators.
//!
//! Orders are put up as a whole, and one bit of the word says whether there are any. So a breaker without orders, which
//! nearly every one is, looks at its word and at nothing more; one under orders finds those that have not run out by the
//! time that its caller brings, and no timer ends them. Whoever finds that all have run out takes the bit back, under
//! the lock that orders are put up under: it can never take back the bit of newer ones.

use super::Breaker;
use super::admission::{OpenedBy, Rejected};
use super::transition::State;
use super::word::Word;
use crate::hold::{Forced, Hold};
use crate::policy::BreakerMode;
use crate::sync::Mutex;
use crate::time::Timestamp;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, PoisonError};

/// Where orders are put up.
#[derive(Debug, Default)]
pub(super) struct Board {
    orders: ArcSwapOption<Orders>,
    changing: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Orders {
    /// The first that has not run out counts.
    holds: Vec<Arc<Hold>>,
    /// What counts after them. Auto: nothing.
    mode: BreakerMode,
    /// When that has run out.
    mode_until: Option<Timestamp>,
}

/// The order that counts; not auto.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) mode: BreakerMode,
    until: Option<Timestamp>,
    /// `None`: it is the policy's.
    hold: Option<Arc<Hold>>,
}

impl Breaker {
    /// Does what a policy's mode says from now on, to calls under way as well, until a time. `None`: until another mode
    /// is set. A hold that is in force counts before it.
    pub fn set_mode(&self, mode: BreakerMode, until: Option<Timestamp>) {
        self.put_up(|orders| {
            orders.mode = mode;
            orders.mode_until = until;
        });
    }

    /// Does what holds say from now on, to calls under way as well, in the place of those before. The first that has not
    /// run out counts. A hold that is forced closed does not close the breaker; [`reset`](Self::reset) does.
    pub fn set_holds(&self, holds: Vec<Arc<Hold>>) {
        self.put_up(|orders| orders.holds = holds);
    }

    /// The order that counts. `None`: the rules do.
    #[inline]
    pub(super) fn order(&self, word: Word, now: Timestamp) -> Option<Order> {
        if word.is_ordered() { self.standing_order(now) } else { None }
    }

    /// The mode that counts.
    #[inline]
    pub(super) fn mode(&self, word: Word, now: Timestamp) -> BreakerMode {
        self.order(word, now).map_or(BreakerMode::Auto, |order| order.mode)
    }

    #[cold]
    fn standing_order(&self, now: Timestamp) -> Option<Order> {
        let order = self.board.orders.load().as_ref().and_then(|orders| orders.at(now));
        if order.is_none() {
            self.take_down(now);
        }
        order
    }

    fn put_up(&self, change: impl FnOnce(&mut Orders)) {
        let _changing = self.board.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut orders = self.board.orders.load().as_deref().cloned().unwrap_or_default();
        change(&mut orders);
        let is_ordered = !orders.holds.is_empty() || orders.mode != BreakerMode::Auto;
        self.board.orders.store(is_ordered.then(|| Arc::new(orders)));
        self.mark(is_ordered);
    }

    /// Takes down orders that have all run out.
    fn take_down(&self, now: Timestamp) {
        // Whoever has the lock puts up others, or does this.
        let Ok(_changing) = self.board.changing.try_lock() else { return };
        if self.board.orders.load().as_ref().is_none_or(|orders| orders.at(now).is_none()) {
            self.board.orders.store(None);
            self.mark(false);
        }
    }

    fn mark(&self, is_ordered: bool) {
        loop {
            let word = self.load();
            if word.is_ordered() == is_ordered || self.swap(word, word.ordered(is_ordered)) {
                return;
            }
        }
    }
}

impl Orders {
    fn at(&self, now: Timestamp) -> Option<Order> {
        if let Some(hold) = self.holds.iter().find(|hold| hold.is_in_force(now)) {
            let mode = match hold.forced() {
                Forced::Open => BreakerMode::ForcedOpen,
                Forced::Closed | Forced::Disabled => BreakerMode::Disabled,
                Forced::MetricsOnly => BreakerMode::MetricsOnly,
            };
            return Some(Order { mode, until: hold.until(), hold: Some(Arc::clone(hold)) });
        }
        let is_in_force = self.mode != BreakerMode::Auto && self.mode_until.is_none_or(|until| now < until);
        is_in_force.then_some(Order { mode: self.mode, until: self.mode_until, hold: None })
    }
}

impl Order {
    /// How a breaker that is forced open rejects a call.
    pub(super) fn rejection(self, now: Timestamp) -> Rejected {
        let retry_after = self.until.map(|until| until.saturating_since(now));
        let by = self.hold.map_or(OpenedBy::Policy, OpenedBy::Hold);
        Rejected { by, ..Rejected::new(State::Open, retry_after) }
    }
}
