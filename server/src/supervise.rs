//! Tasks that run for as long as whoever needs them, whatever happens in them.
//!
//! No input may cause a panic; where one does all the same, it must not end what a task does for everybody, without a sign
//! and until the manager is started anew. It is a defect, and logged as one.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio_util::task::AbortOnDropHandle;

/// How long a task that has panicked rests: it may do so again.
const REST: Duration = Duration::from_secs(1);

/// Runs a task until the handle is dropped, or it ends by itself, and begins it anew where it panics. What it shares with others
/// has to be whole whenever it can panic. Must be called within a Tokio runtime.
pub(crate) fn supervised<F>(name: &'static str, mut task: impl FnMut() -> F + Send + 'static) -> AbortOnDropHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Err(panic) = caught(&mut task).await {
            tracing::error!(task = name, panic, "a defect of this program: a task has ended early, and begins anew");
            tokio::time::sleep(REST).await;
        }
    }))
}

/// Runs a task to its end. What it says where it panics.
pub(crate) async fn caught<F: Future<Output = ()>>(task: impl FnOnce() -> F) -> Result<(), String> {
    let ended = AssertUnwindSafe(async { task().await }).catch_unwind().await;
    ended.map_err(|panic| text(&*panic).to_owned())
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it does not say why")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::testing::log;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_logged_and_begins_anew_and_one_that_is_done_does_not() {
        let (log, records) = log();
        let _log = tracing::subscriber::set_default(log);
        let begun = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&begun);
        let task = supervised("counter", move || {
            let count = count.fetch_add(1, Ordering::SeqCst);
            async move { assert!(count >= 2, "not yet, {count}") }
        });
        task.await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 3);
        assert!(records.text().contains("counter") && records.text().contains("not yet, 1"), "{}", records.text());
    }

    #[tokio::test]
    async fn whoever_drops_it_ends_it() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let task = supervised("waiter", move || {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        });
        drop(task);
        while Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
