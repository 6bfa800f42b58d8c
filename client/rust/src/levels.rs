//! Temporary levels end on time, with no manager in reach, and that a hold has run out is told.
//!
//! The engine has no clock, and a call should not look for what happens once. So a task of its own sleeps until the first
//! temporary level or hold of the process is over, and puts the policy's own level in force again. It goes on on the SDK's own thread
//! where the runtime that it ran on is dropped: a protection that somebody has turned off for a time must come back.

use crate::client::Shared;
use crate::events::Event;
use crate::panics::tell;
use crate::runtime::{Tokio, own};
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Sees to it that temporary levels go on to be ended where the task that does so is dropped with its runtime.
struct Watch {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // What has panicked here would panic there.
        if self.stop.is_cancelled() || std::thread::panicking() {
            return;
        }
        if let Some(own) = own() {
            own.spawn(run(Arc::clone(&self.shared), self.stop.clone()));
        }
    }
}

/// Ends temporary levels until it is to stop.
pub(crate) fn run(shared: Arc<Shared>, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
    // Made here, for a task that is dropped before it has begun as well.
    end_levels(Watch { shared, stop })
}

async fn end_levels(watch: Watch) {
    let Watch { shared, stop } = &watch;
    loop {
        let now = Tokio.now();
        let next = settle(shared, now);
        let wait = async {
            match next {
                Some(next) => Tokio.sleep(next.saturating_since(now)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.registry.temporary_order_begun() => {}
            () = wait => {}
        }
    }
}

/// Goes back to the policy's own level where the time of a temporary one is over, and tells of holds that have run out.
/// When the next one is over.
fn settle(shared: &Shared, now: Timestamp) -> Option<Timestamp> {
    let mut next: Option<Timestamp> = None;
    let mut wake_at = |until: Timestamp| next = Some(next.map_or(until, |next| next.min(until)));
    for service in shared.registry.followed() {
        if let Some(until) = service.tell_holds(&shared.hub, now) {
            wake_at(until);
        }
        let Some(until) = service.isolation.in_force().level_until else { continue };
        if now < until {
            wake_at(until);
        } else if let Some(level) = service.isolation.settle(now) {
            tell(|| tracing::info!(service = %service.name, %level, "the temporary level is over"));
            shared.hub.tell(Event::TemporaryLevelOver { service: Arc::clone(&service.name), level });
        }
    }
    next
}
