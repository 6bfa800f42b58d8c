//! The budget against a model that remembers every deposit and every withdrawal.

use super::*;
use crate::tests::property;
use proptest::prelude::*;

#[derive(Default)]
struct Model {
    ttl: u64,
    /// When, in tenths of the ttl.
    deposits: Vec<u64>,
    withdrawals: Vec<u64>,
}

impl Model {
    /// Another ttl starts afresh.
    fn tick(&mut self, now: u64, policy: &BudgetPolicy) -> u64 {
        let ttl = policy.ttl.as_nanos() as u64;
        if ttl != self.ttl {
            *self = Self { ttl, ..Self::default() };
        }
        now / (ttl / 10)
    }

    /// Thousandths of a retry that are earned, and that are left.
    fn left(&self, tick: u64, policy: &BudgetPolicy) -> (u64, u64) {
        let recent = |times: &[u64]| times.iter().filter(|at| tick - **at < 10).count() as u64;
        let earned = recent(&self.deposits) * (policy.ratio * 1000.0) as u64
            + u64::from(policy.min_per_second) * policy.ttl.as_millis() as u64;
        (earned, earned.saturating_sub(recent(&self.withdrawals) * 1000))
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit,
    Withdraw,
    Pass(u64),
    Apply(usize),
}

fn step(bits: u64) -> Step {
    match bits & 15 {
        0..=5 => Step::Deposit,
        6..=11 => Step::Withdraw,
        12 | 13 => Step::Pass(bits >> 34),
        14 => Step::Pass(bits >> 31),
        _ if bits >> 61 == 0 => Step::Apply((bits >> 8) as usize % 3),
        _ => Step::Pass(0),
    }
}

#[test]
fn agrees_with_a_model_that_remembers_everything() {
    // Ratios that are exact in binary, and in thousandths.
    let policy = (0_u32..9, 0_u32..3, 1_u64..60).prop_map(|(eighths, min_per_second, seconds)| BudgetPolicy {
        ratio: f64::from(eighths) / 8.0,
        min_per_second,
        ttl: Duration::from_secs(seconds),
    });
    let steps = prop::collection::vec(any::<u64>().prop_map(step), 0..500);
    property(400, (prop::array::uniform3(policy), steps), |(policies, steps)| {
        let (mut model, mut policy, mut now) = (Model::default(), &policies[0], 1_u64 << 40);
        let budget = RetryBudget::new(policy);
        for step in steps {
            let at = Timestamp::from_nanos(now);
            match step {
                Step::Pass(nanos) => now += nanos,
                Step::Apply(which) => {
                    policy = &policies[which];
                    budget.set_policy(policy);
                    model.tick(now, policy);
                }
                Step::Deposit => {
                    budget.deposit(at);
                    let tick = model.tick(now, policy);
                    model.deposits.push(tick);
                }
                Step::Withdraw => {
                    let tick = model.tick(now, policy);
                    let (earned, left) = model.left(tick, policy);
                    prop_assert_eq!(budget.balance(at, policy), balance(&model, now, policy));
                    prop_assert_eq!(budget.withdraw(at, policy), left >= 1000, "of {}", earned);
                    if left >= 1000 {
                        model.withdrawals.push(tick);
                    }
                }
            }
        }
        Ok(())
    });
}

/// What is left, said without a change.
fn balance(model: &Model, now: u64, policy: &BudgetPolicy) -> f64 {
    let ttl = policy.ttl.as_nanos() as u64;
    model.left(now / (ttl / 10), policy).1 as f64 / 1000.0
}
