//! Calls on threads of their own.

use super::*;
use std::sync::{Barrier, mpsc};
use std::thread;

/// A service that answers when all of its callers are there.
struct Meeting(Arc<Barrier>);

/// A clock that stands still.
struct Still;

impl Runtime for Still {
    type Sleep = std::future::Pending<()>;

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }

    fn sleep(&self, _: Duration) -> Self::Sleep {
        std::future::pending()
    }

    fn random(&self) -> u64 {
        0
    }
}

impl Operation for Meeting {
    type Output = ();
    type Error = ();

    fn attempt(&mut self, _: Attempt) -> impl Future<Output = Result<(), ()>> + Send + use<> {
        let barrier = Arc::clone(&self.0);
        async move {
            barrier.wait();
            Ok(())
        }
    }

    fn classify(&self, _: Result<&(), &()>, _: Context<'_>) -> Verdict {
        Verdict {
            outcome: Outcome::Success,
            is_retryable: false,
            may_have_reached: true,
            is_overload: false,
            pushback: None,
        }
    }
}

/// The callers' own code blocks its threads until all of it runs: under a lock, or one after the other, it never would.
///
/// Seen in <https://github.com/danielfm/pybreaker/issues/3>, <https://github.com/danielfm/pybreaker/issues/55>.
#[test]
fn t15_the_callers_own_code_runs_under_no_lock() {
    const CALLERS: usize = 10;
    let isolation =
        Arc::new(Isolation::new(Policy::new(at(Level::Full)).unwrap(), None, Clocks::default(), Arc::new(Unobserved)));
    let barrier = Arc::new(Barrier::new(CALLERS));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..CALLERS {
        let (isolation, sender, mut meeting) = (Arc::clone(&isolation), sender.clone(), Meeting(Arc::clone(&barrier)));
        thread::spawn(move || {
            let options = idempotent();
            let call = execute(&isolation, &Still, &mut meeting, &options);
            sender.send(futures_util::FutureExt::now_or_never(call).is_some_and(|call| call.is_ok()))
        });
    }
    for _ in 0..CALLERS {
        assert!(receiver.recv_timeout(Duration::from_secs(60)).unwrap());
    }
}
