//! Parts of the engine that every call goes through.

use super::Case;
use cofferdam_core::health::HealthWindow;
use cofferdam_core::policy::{BudgetPolicy, HealthPolicy};
use cofferdam_core::retry::RetryBudget;
use cofferdam_core::stats::{Counter, Counters};
use cofferdam_core::time::Timestamp;
use std::hint::black_box;

const NOW: Timestamp = Timestamp::from_millis(1_000);

pub fn counter() -> Case {
    let counters = Counters::new();
    Case::new("one counter", move || counters.add(black_box(Counter::Calls)))
}

pub fn budget_deposit() -> Case {
    let budget = RetryBudget::new(&BudgetPolicy::default());
    Case::new("retry budget, deposit", move || budget.deposit(black_box(NOW)))
}

pub fn health_record() -> Case {
    let health = HealthWindow::new(&HealthPolicy::default());
    Case::new("health, a success", move || health.record(false, black_box(NOW)))
}
