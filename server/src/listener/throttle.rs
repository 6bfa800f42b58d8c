//! A warning that could be repeated a thousand times a second, and is said now and then.

use std::time::Duration;

use tokio::time::Instant;

/// How often it may be said.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts how often there was a reason to warn.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    count: u64,
}

impl Throttle {
    /// There is another reason. How many there were since the last time that it was said, where it is to be said.
    pub(super) fn another(&mut self) -> Option<u64> {
        self.count = self.count.saturating_add(1);
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_at_once_and_then_with_the_number_of_times() {
        let mut throttle = Throttle::default();
        assert_eq!([throttle.another(), throttle.another(), throttle.another()], [Some(1), None, None]);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([throttle.another(), throttle.another()], [Some(3), None]);
    }
}
