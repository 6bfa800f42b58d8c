//! When a failed attempt is repeated: how long to wait, and whether there is still something to spend.
//!
//! Retries help when failures are few and independent, and make things worse when they are many: three attempts each
//! in three layers are twenty-seven calls for one, sent to a service that is already failing. A pause alone does not
//! prevent that, for pauses only spread the same load over time. So each retry needs two things: a [`backoff()`], which
//! keeps callers from coming back together, and a withdrawal from the service's [`RetryBudget`], which keeps all
//! retries together at a share of the calls, and the hedges with them.

mod backoff;
mod budget;

pub use backoff::backoff;
pub use budget::RetryBudget;
