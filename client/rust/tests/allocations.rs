//! A healthy call allocates nothing.

use cofferdam::{Cofferdam, Level, Policy, PolicySpec};
use futures_util::FutureExt;
use std::io;

#[test]
fn a_healthy_call_allocates_nothing_at_any_level() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for level in Level::ALL {
        let policy = Policy::new(PolicySpec { level, ..PolicySpec::default() }).unwrap();
        let service = Cofferdam::builder("test").default_policy(policy).start().service("orders-db");
        // Polled by hand: a runtime boxes a future that it finds too large.
        let _context = runtime.enter();
        let call = || {
            let answered = async {
                let plain = service.execute("get", || async { Ok::<_, io::Error>(1) }).await;
                let dressed = service.execute("get", || async { Ok::<_, io::Error>(1) });
                let dressed = dressed.idempotent().cache_key("7").fallback(|_| async { Ok(0) });
                (plain.is_ok(), dressed.await.is_ok())
            };
            assert_eq!(answered.now_or_never(), Some((true, true)));
        };
        // What is set up once, per thread or service, is.
        call();
        let allocations = allocation_counter::measure(call);
        assert_eq!(allocations.count_total, 0, "at level {level}");
    }
}
