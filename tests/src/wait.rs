//! Waiting for a condition.

use std::fmt;
use std::time::Duration;

/// Longer than anything here takes on a busy machine: what is not true by then never will be.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Asks until the answer is `Ok`, and returns what it holds.
///
/// # Panics
///
/// After a minute, with the last `Err`: say there what was seen instead.
pub async fn eventually<T, E: fmt::Debug>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let mut last = None;
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(seen) => last = Some(seen),
            }
            before_the_next_try().await;
        }
    };
    let answer = tokio::time::timeout(LIMIT, asking).await;
    match answer {
        Ok(answer) => answer,
        Err(_) => match last {
            Some(seen) => panic!("waited in vain for {what}: last seen {seen:?}"),
            None => panic!("waited in vain for {what}: never got an answer"),
        },
    }
}

/// A moment, so that a loop that tries again and again leaves the machine to those it waits for.
pub async fn before_the_next_try() {
    tokio::time::sleep(INTERVAL).await;
}

/// The result of something that must end by itself.
///
/// # Panics
///
/// After a minute.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not end"),
    }
}
