//! What has to be looked after now and then.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};

use crate::{execute::Executor, instances::Instances, registry::Registry};

/// How often to look, at least.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often an operator is reminded that anybody may change every policy.
const REMINDER: Duration = Duration::from_secs(60);

/// How often to ask the store how it does.
const STORE_INTERVAL: Duration = Duration::from_secs(5);

/// Asks the store how it does, from the start on.
pub(super) async fn look_at_store(registry: Arc<Registry>) {
    let mut ticks = tokio::time::interval(STORE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.look_at_store().await;
    }
}

/// Hangs up on those who have not read for as long as they may, forgets the sums of services that are gone and what is old
/// of the others, and reminds of an open door.
pub(super) async fn keep(
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    executor: Arc<Executor>,
    stall_timeout: Duration,
    exposed: Option<SocketAddr>,
) {
    let mut ticks = tokio::time::interval(INTERVAL.min(stall_timeout / 2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remind_at = Instant::now();
    loop {
        ticks.tick().await;
        let stalled = registry.hang_up_on_stalled(stall_timeout);
        if stalled > 0 {
            tracing::warn!(stalled, "hung up on instances that had stopped reading");
        }
        instances.forget_silent();
        executor.tell(|key, activity| instances.record_own(key, activity));
        instances.look_after_history();
        for key in instances.abandoned() {
            if registry.get(&key).is_none() {
                instances.forget(&key);
            }
        }
        if let Some(address) = exposed
            && Instant::now() >= remind_at
        {
            tracing::warn!(%address, "anybody who reaches this address may change every policy: there is no TLS and no authentication");
            remind_at += REMINDER;
        }
    }
}
