//! Calls that end without anything to wait for.

use super::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Before, a loop of such calls kept its thread for ever, and the SDK's own stream from hearing of a release.
#[tokio::test(start_paused = true)]
async fn calls_that_are_rejected_or_stood_in_for_let_others_run() {
    for with_fallback in [false, true] {
        let service = service(spec(Level::Enhanced));
        for _ in 0..3 {
            assert!(service.execute("save", || async { Err::<u32, _>(Boom(1)) }).await.is_err());
        }
        assert_eq!(service.breaker_state(), Some(BreakerState::Open));
        let others = Arc::new(AtomicBool::new(false));
        let ran = Arc::clone(&others);
        tokio::spawn(async move { ran.store(true, Ordering::SeqCst) });
        for _ in 0..10_000 {
            let call = service.execute("save", || async { Ok::<u32, Boom>(1) });
            let answered = if with_fallback { call.fallback(|_| async { Ok(2) }).await } else { call.await };
            assert_eq!(answered.is_ok(), with_fallback);
            if others.load(Ordering::SeqCst) {
                break;
            }
        }
        assert!(others.load(Ordering::SeqCst), "with a fallback: {with_fallback}");
    }
}
