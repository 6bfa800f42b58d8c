//! Hedged calls, as a caller writes them.

use super::*;
use crate::Attempt;
use cofferdam_core::policy::HedgePolicy;
use std::sync::Arc;

fn hedging() -> PolicySpec {
    let spec = spec(Level::Full);
    PolicySpec {
        hedge: HedgePolicy::after(SECOND / 10),
        bulkhead: BulkheadPolicy { max_concurrent: 2, ..spec.bulkhead },
        ..spec
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_hedged_where_it_is_idempotent() {
    for is_idempotent in [false, true] {
        let service = service(hedging());
        let (started, ended) = (AtomicU32::new(0), AtomicU32::new(0));
        let begin = Instant::now();
        let call = service.execute("list", || {
            let (ended, number) = (&ended, started.fetch_add(1, Ordering::Relaxed) + 1);
            async move {
                sleep(if number == 1 { SECOND / 2 } else { SECOND / 100 }).await;
                ended.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Boom>(number)
            }
        });
        let answer = if is_idempotent { call.idempotent().answer().await } else { call.answer().await }.unwrap();
        let counters = service.counters();
        if is_idempotent {
            assert_eq!((answer.value, answer.receipt.attempts, begin.elapsed()), (2, 2, SECOND / 100 * 11));
            assert_eq!((counters.hedges, counters.hedge_wins, counters.attempt_neutrals), (1, 1, 1));
        } else {
            assert_eq!((answer.value, answer.receipt.attempts, begin.elapsed()), (1, 1, SECOND / 2));
            assert_eq!(counters.hedges, 0);
        }
        assert_eq!(ended.load(Ordering::Relaxed), 1, "the other one was cancelled");
    }
}

/// What attempts share they share as in any concurrent code; each may own what it likes.
#[tokio::test(start_paused = true)]
async fn hedged_calls_can_be_spawned() {
    let service = service(hedging());
    let task = tokio::spawn(async move {
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let call = service.execute_with("list", |attempt: Attempt| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(attempt.number);
                pending::<Result<(), Boom>>().await
            }
        });
        let answered = call.idempotent().fallback(|_| async { Ok(()) }).await;
        (answered, log.lock().unwrap().clone(), service.counters().timeouts)
    });
    assert_eq!(task.await.unwrap(), (Ok(()), vec![1, 2], 2));
}
