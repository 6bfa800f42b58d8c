//! The clock is one for the process, and the runtimes of its tests each have a time of their own. A process of its own,
//! for the first use of the clock decides.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use cofferdam::policy::BreakerPolicy;
use cofferdam::{BreakerState, Cofferdam, Level, Policy, PolicySpec};
use std::time::Duration;

/// A breaker that opens, and is half-open in time.
async fn breaks_and_recovers() {
    let breaker = BreakerPolicy {
        consecutive_failures: 1,
        open_duration: Duration::from_secs(10),
        open_jitter_ratio: 0.0,
        ..BreakerPolicy::default()
    };
    let policy = PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() };
    let cd = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let service = cd.service("orders-db");
    service.execute("get", || async { Err::<(), _>("boom") }).await.unwrap_err();
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(service.breaker_state(), Some(BreakerState::HalfOpen));
}

/// The system's clock stands still here while the monotonic one runs for days, as if it had been set back: breakers go
/// by the one that nobody sets.
///
/// Seen in <https://github.com/kubeflow/mcp-server/issues/222>.
#[test]
fn t16_a_system_clock_that_is_set_back_changes_nothing() {
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused.block_on(async {
        for _ in 0..48 {
            tokio::time::advance(Duration::from_secs(3600)).await;
            breaks_and_recovers().await;
        }
    });
}

#[test]
fn a_runtime_whose_time_is_behind_still_has_time() {
    let paused = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    paused().block_on(async {
        tokio::time::advance(Duration::from_secs(3600)).await;
        breaks_and_recovers().await;
    });
    paused().block_on(breaks_and_recovers());
}
