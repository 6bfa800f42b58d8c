//! The SDK's clocks, its timer, its random numbers, and the runtime its background task runs on.
//!
//! All of it is tokio's: the caller's runtime where there is one. Where there is none, because `start()` was called
//! before any runtime, or the application runs on another executor, one background thread hosts what needs tokio; so it
//! does for the timers of a runtime that was built without.

use crate::panics::{tell, unless_it_panics};
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::{Clocks, Timestamp, WallTime};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::runtime::{Handle, Id};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

/// How long before its first use the clock began. A test's runtime has a time of its own, which may be behind that of
/// the one before; without this, its clock would stand still.
const HEAD_START: Duration = Duration::from_secs(24 * 3600);

/// Runtimes that are remembered to have no timer: a process has one or two.
const MOST_TIMELESS: usize = 16;

/// The engine's host: tokio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

pin_project! {
    /// A pause.
    #[project = SleepProjection]
    #[derive(Debug)]
    pub(crate) enum Sleep {
        Timer { #[pin] timer: tokio::time::Sleep },
        // No timer is to be had: no tokio runtime with one, and no thread to start one on. The pause is over at once, for a
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
        let on = |runtime: Handle| timer_of(&runtime, duration);
        handle().and_then(on).or_else(|| own().and_then(on)).map_or(Sleep::Broken, |timer| Sleep::Timer { timer })
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

/// A timer of a runtime. `None`: it was built without, as `enable_time` and `enable_all` have it.
fn timer_of(runtime: &Handle, duration: Duration) -> Option<tokio::time::Sleep> {
    if TIMELESS.hold(runtime) {
        return None;
    }
    let _context = runtime.enter();
    // Tokio says it by a panic, and in no other way. Its message is printed, once for each such runtime.
    match unless_it_panics(|| tokio::time::sleep(duration)) {
        Ok(timer) => Some(timer),
        Err(_) => {
            TIMELESS.add(runtime);
            None
        }
    }
}

/// The runtimes that were found to have no timer.
struct Timeless {
    /// Whether there are any: most often there are none, and then nothing is looked up.
    any: AtomicBool,
    known: Mutex<Vec<Id>>,
}

static TIMELESS: Timeless = Timeless { any: AtomicBool::new(false), known: Mutex::new(Vec::new()) };

impl Timeless {
    fn hold(&self, runtime: &Handle) -> bool {
        self.any.load(Ordering::Relaxed) && self.lock().contains(&runtime.id())
    }

    fn add(&self, runtime: &Handle) {
        let mut known = self.lock();
        if known.contains(&runtime.id()) {
            return;
        }
        known.truncate(MOST_TIMELESS - 1);
        known.insert(0, runtime.id());
        drop(known);
        self.any.store(true, Ordering::Relaxed);
        tell(|| {
            tracing::warn!(
                "a tokio runtime without a timer (`enable_all`): a thread of the SDK's own keeps time for it"
            )
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Id>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

/// How long it is until a time by the wall clock. Zero where that is over.
#[expect(
    clippy::disallowed_methods,
    reason = "the third place that reads the wall clock: a date that a service has said"
)]
pub(crate) fn time_until(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::now()).unwrap_or_default()
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
    use crate::log_lines::Warnings;

    #[test]
    fn a_call_on_a_runtime_without_a_timer_ends_on_time_and_does_not_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (warnings, _guard) = Warnings::of_this_thread();
        let cofferdam = crate::Cofferdam::builder("test").start();
        let service = cofferdam.service("users");
        for _ in 0..2 {
            let call = service.execute("get", std::future::pending::<std::io::Result<()>>);
            let answer = runtime.block_on(call.timeout(Duration::from_millis(50)).into_future());
            assert!(matches!(answer, Err(crate::Error::Timeout)), "{answer:?}");
        }
        assert_eq!(warnings.with("without a timer").len(), 1);
    }

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
