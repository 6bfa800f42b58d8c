//! What is counted of methods that have an override.

use super::*;
use crate::latency::CallLatencySnapshot;
use crate::policy::MethodOverride;

fn overriding(globs: &[&str]) -> PolicySpec {
    let entry = |glob: &&str| MethodOverride { glob: (*glob).to_owned(), ..MethodOverride::default() };
    PolicySpec { method_overrides: globs.iter().map(entry).collect(), ..at(Level::Enhanced) }
}

impl Bench {
    async fn call_of(&self, method: &'static str, replies: impl IntoIterator<Item = Reply>) {
        let options = CallOptions { method, ..idempotent() };
        let _ = self.run(&mut Script::new(replies), options).await;
    }

    /// Calls and attempts by glob, as they are counted and as they are timed.
    fn methods(&self) -> Vec<(String, [u64; 4])> {
        let row = |(glob, counters, latencies): (Arc<str>, CounterSnapshot, CallLatencySnapshot)| {
            let timed = [latencies.calls.count(), latencies.attempts.count()];
            (glob.to_string(), [counters.calls, counters.attempts, timed[0], timed[1]])
        };
        self.isolation.methods().into_iter().map(row).collect()
    }

    fn sums(&self) -> [u64; 4] {
        let (counters, latencies) = (self.counters(), self.isolation.latencies());
        [counters.calls, counters.attempts, latencies.calls.count(), latencies.attempts.count()]
    }
}

fn slow() -> Reply {
    Reply::AnswerAfter(SECOND, "slow")
}

#[tokio::test(start_paused = true)]
async fn calls_count_where_their_method_belongs_and_in_the_sums() {
    let bench = Bench::new(overriding(&["list*", "get"]));
    bench.call_of("listUsers", [slow()]).await;
    bench.call_of("listOrders", [Reply::CodeAfter(SECOND, UNAVAILABLE), slow()]).await;
    bench.call_of("get", [slow()]).await;
    bench.call_of("put", [slow()]).await;
    let (list, get) = (("list*".to_owned(), [2, 3, 2, 3]), ("get".to_owned(), [1, 1, 1, 1]));
    assert_eq!(bench.methods(), [get, list]);
    assert_eq!(bench.sums(), [4, 5, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_override_that_goes_leaves_its_counts_to_the_service() {
    let bench = Bench::new(overriding(&["list*"]));
    bench.call_of("listUsers", [slow()]).await;
    {
        let mut under_way = Script::new([slow()]);
        let options = CallOptions { method: "listUsers", ..idempotent() };
        let mut call = Box::pin(bench.run(&mut under_way, options));
        assert!(tokio::time::timeout(SECOND / 2, &mut call).await.is_err());
        bench.apply(overriding(&[]));
        call.await.unwrap();
    }
    assert_eq!(bench.sums(), [2, 2, 2, 2], "a call under way counts where it began");
    bench.apply(overriding(&["get"]));
    assert_eq!((bench.methods(), bench.sums()), (vec![("get".to_owned(), [0; 4])], [2, 2, 2, 2]));
    bench.apply(overriding(&["list*"]));
    bench.call_of("listUsers", [slow()]).await;
    assert_eq!(bench.methods(), [("list*".to_owned(), [1; 4])], "one that comes back begins anew");
    assert_eq!(bench.sums(), [3, 3, 3, 3]);
}
