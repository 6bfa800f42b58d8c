//! What has to be looked after now and then.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};

use crate::{instances::Instances, registry::Registry};

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a subscriber may take nothing while something waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often an operator is reminded that anybody may change every policy.
const REMINDER: Duration = Duration::from_secs(60);

/// Hangs up on those who do not read, forgets the sums of services that are gone, and reminds of an open door.
pub(super) async fn keep(registry: Arc<Registry>, instances: Arc<Instances>, exposed: Option<SocketAddr>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remind_at = Instant::now();
    loop {
        ticks.tick().await;
        let stalled = registry.hang_up_on_stalled(PATIENCE);
        if stalled > 0 {
            tracing::warn!(stalled, "hung up on instances that had stopped reading");
        }
        instances.forget_silent();
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
