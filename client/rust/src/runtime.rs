//! The SDK's clocks, its timer, its random numbers, and the runtime its background task runs on.
//!
//! All of it is tokio's: the caller's runtime where there is one. Where there is none, because `start()` was called
//! before any runtime, or the application runs on another executor, one background thread hosts what needs tokio.

use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::{Clocks, Timestamp, WallTime};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

/// How long before its first use the clock began. A test's runtime has a time of its own, which may be behind that of
/// the one before; without this, its clock would stand still.
const HEAD_START: Duration = Duration::from_secs(24 * 3600);

/// The engine's host: tokio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

pin_project! {
    /// A pause.
    #[project = SleepProjection]
    #[derive(Debug)]
    pub(crate) enum Sleep {
        Timer { #[pin] timer: tokio::time::Sleep },
        // No timer is to be had: no tokio runtime, and no thread to start one on. The pause is over at once, for a
        // call that fails is better than one that never ends.
        Broken,
    }
}

impl Runtime for Tokio {
    type Sleep = Sleep;

    fn now(&self) -> Timestamp {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let now = Instant::now();
        let origin = *ORIGIN.get_or_init(|| now.checked_sub(HEAD_START).unwrap_or(now));
        Timestamp::ZERO.saturating_add(now.saturating_duration_since(origin))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let Some(handle) = handle() else {
            return Sleep::Broken;
        };
        let _context = handle.enter();
        Sleep::Timer { timer: tokio::time::sleep(duration) }
    }

    fn give_way(&self) -> impl Future<Output = ()> + Send {
        consume_budget()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let SleepProjection::Timer { timer } = self.project() {
            ready!(timer.poll(context));
        }
        Poll::Ready(())
    }
}

/// What the clocks read now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock for policies")]
pub(crate) fn clocks() -> Clocks {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Clocks { monotonic: Tokio.now(), wall: WallTime::after_1970(since) }
}

/// How long ago something was by the wall clock. Zero where that is in the future.
#[expect(clippy::disallowed_methods, reason = "the other place that reads the wall clock: what files go by")]
pub(crate) fn age_of(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_default()
}

/// The caller's runtime, else the SDK's own. `None`: the system has no thread left for it.
pub(crate) fn handle() -> Option<Handle> {
    Handle::try_current().ok().or_else(own)
}

/// The SDK's own runtime, which is started when it is first needed, and never ends. `None`: the system has no thread
/// left for it.
pub(crate) fn own() -> Option<Handle> {
    static OWN: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(own) = OWN.get() {
        return Some(own.clone());
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if OWN.get().is_none() {
        // Where there is no thread now, there may be one for the next who asks.
        let _ = OWN.set(start_own()?);
    }
    OWN.get().cloned()
}

fn start_own() -> Option<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let handle = runtime.handle().clone();
    let host = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("cofferdam".to_owned()).spawn(host).ok()?;
    Some(handle)
}

/// A random part of a duration: anything from zero up to it.
pub(crate) fn random_part(duration: Duration) -> Duration {
    duration.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_without_a_runtime_of_the_callers() {
        let begin = Tokio.now();
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let pause = Tokio.sleep(Duration::from_millis(5));
            pollster(pause);
            sender.send(Tokio.now()).unwrap();
        });
        let end = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
        waiting.join().unwrap();
        assert!(end.saturating_since(begin) >= Duration::from_millis(5));
    }

    /// Runs a future on a thread without any runtime.
    fn pollster(future: impl Future<Output = ()>) {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = std::pin::pin!(future);
        while future.as_mut().poll(&mut context).is_pending() {
            std::thread::park();
        }
    }
}
