//! What all retries to a service may cost together, hedges included.
//!
//! Each call deposits a share of a retry, each retry withdraws a whole one, and a few a second are always there, so
//! that a service with little traffic can be retried at all. With the defaults, a service that fails every call gets
//! 1.2 times its normal load and ten calls a second, where three attempts without a budget would make it three times.
//! What is not spent keeps for a while (`ttl`) only: an hour of calm must not save up for a storm. All of this is
//! Finagle's `RetryBudget`; unlike its token bucket, this one counts deposits and withdrawals themselves, so that a
//! change of the policy is applied to what already happened, at once and without a reset.
//!
//! A retry is allowed if, over the last `ttl`,
//!
//! ```text
//! withdrawals + 1 <= ratio * deposits + min_per_second * ttl
//! ```
//!
//! in whole thousandths, so that nothing is lost to rounding. Only a new `ttl` starts afresh, with no deposits and no
//! withdrawals; and it does so once, when it is put in force: calls that began under the last one go by the new one too.
//!
//! Deposits are frequent and only ever counted. A withdrawal is rare and must be exact: two callers must not both take
//! the last retry. Within a tick, the withdrawals of that tick are one word, and the swap that counts one fails if
//! another was counted since the sum. Around a change of tick, two callers could sum different windows and swap
//! different words; so a caller first makes its time known, and once it has counted its withdrawal it looks whether a
//! later time has become known. Then it takes the withdrawal back and asks again at the later time; otherwise, whoever
//! comes with a later time sees the withdrawal.

use crate::policy::BudgetPolicy;
use crate::ring::{Frame, Ring, Scale, Shape, StripedRing};
use crate::sync::{AtomicU64, Ordering::SeqCst, sequentially_consistent};
use crate::time::Timestamp;

const BUCKETS: u32 = 10;

/// Retries that the calls of a service have earned and not yet spent.
///
/// ```
/// use cofferdam_core::policy::BudgetPolicy;
/// use cofferdam_core::retry::RetryBudget;
/// use cofferdam_core::time::Timestamp;
///
/// let policy = BudgetPolicy { ratio: 0.5, min_per_second: 0, ..BudgetPolicy::default() };
/// let (budget, now) = (RetryBudget::new(&policy), Timestamp::from_millis(1));
/// budget.deposit(now);
/// assert!(!budget.withdraw(now, &policy));
/// budget.deposit(now);
/// assert!(budget.withdraw(now, &policy));
/// assert!(!budget.withdraw(now, &policy));
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    scale: Scale,
    deposits: StripedRing,
    withdrawals: Ring,
    /// The latest time that a withdrawal was tried at, in nanoseconds.
    latest: AtomicU64,
}

impl RetryBudget {
    /// A budget without deposits.
    pub fn new(policy: &BudgetPolicy) -> Self {
        Self {
            scale: Scale::new(shape(policy)),
            deposits: StripedRing::new(),
            withdrawals: Ring::new(),
            latest: AtomicU64::new(0),
        }
    }

    /// Goes by another policy from now on: another `ttl` begins afresh.
    pub fn set_policy(&self, policy: &BudgetPolicy) {
        self.scale.advance(shape(policy));
    }

    /// Counts a call, which earns a share of a retry.
    #[inline]
    pub fn deposit(&self, now: Timestamp) {
        let frame = self.scale.frame(0);
        if !self.deposits.add_at_present(frame, now) {
            self.deposits.add(frame, now);
        }
    }

    /// Takes a retry, if there is one by what a policy says of the calls in the window; its `ttl` is that of the
    /// [policy in force](Self::set_policy).
    #[must_use]
    pub fn withdraw(&self, now: Timestamp, policy: &BudgetPolicy) -> bool {
        let mut now = self.latest.fetch_max(now.as_nanos(), SeqCst).max(now.as_nanos());
        loop {
            let frame = self.scale.frame(0);
            let tick = frame.tick(Timestamp::from_nanos(now));
            sequentially_consistent();
            let allowed = self.allowance(frame, tick, policy);
            let admits = |spent: u64| spent < allowed / 1000;
            if !self.withdrawals.add_if(frame, tick, admits) {
                return false;
            }
            sequentially_consistent();
            now = self.latest.load(SeqCst);
            let is_still = self.scale.frame(0) == frame;
            if is_still && frame.tick(Timestamp::from_nanos(now)) == tick {
                return true;
            }
            self.withdrawals.take_back(frame, tick);
        }
    }

    /// Retries that are left, zero where more were spent than the policy now allows.
    #[cfg(test)]
    pub(crate) fn balance(&self, now: Timestamp, policy: &BudgetPolicy) -> f64 {
        let now = Timestamp::from_nanos(self.latest.load(SeqCst).max(now.as_nanos()));
        let frame = self.scale.frame(0);
        let tick = frame.tick(now);
        let (allowed, spent) = (self.allowance(frame, tick, policy), self.withdrawals.sum(frame, tick));
        allowed.saturating_sub(spent * 1000) as f64 / 1000.0
    }

    /// What the window allows, in thousandths of a retry.
    fn allowance(&self, frame: Frame, tick: u64, policy: &BudgetPolicy) -> u64 {
        let ratio = (policy.ratio.clamp(0.0, 1.0) * 1000.0).round() as u64;
        let earned = ratio.saturating_mul(self.deposits.sum(frame, tick));
        let always_there = u64::from(policy.min_per_second).saturating_mul(frame.length_in_millis());
        earned.saturating_add(always_there)
    }
}

fn shape(policy: &BudgetPolicy) -> Shape {
    Shape::new(policy.ttl, BUCKETS)
}

#[cfg(test)]
mod tests;
