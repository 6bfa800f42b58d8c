use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Tokio's clock and timer, for the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokioRuntime {
    origin: Instant,
}

impl TokioRuntime {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Runtime for TokioRuntime {
    type Sleep = Sleep;

    fn now(&self) -> Timestamp {
        let since = Instant::now().duration_since(self.origin);
        Timestamp::ZERO.saturating_add(since)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        sleep(duration)
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
