//! A healthy call allocates nothing, and its future stays small.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use cofferdam::policy::{
    BulkheadPolicy, CachedFallback, FallbackPolicy, FallbackStep, HedgePolicy, PoolPolicy, TimeoutPolicy,
};
use cofferdam::{BreakerState, Builder, Cofferdam, Error, Event, Level, Policy, PolicySpec, Service};
use futures_util::FutureExt;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A service with every section of a policy in use, and a runtime to call it in.
fn service(level: Level) -> (Runtime, Service) {
    let (runtime, cofferdam) = started(Cofferdam::builder("test"), level);
    (runtime, cofferdam.service("orders-db"))
}

fn started(builder: Builder, level: Level) -> (Runtime, Cofferdam) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = |name: &str, glob: &str| PoolPolicy {
        name: name.to_owned(),
        method_globs: vec![glob.to_owned()],
        ..PoolPolicy::default()
    };
    let policy = PolicySpec {
        level,
        timeout: TimeoutPolicy { attempt_timeout: Duration::from_secs(1), ..TimeoutPolicy::default() },
        hedge: HedgePolicy { percentile: 0.95, ..HedgePolicy::after(Duration::from_secs(1)) },
        bulkhead: BulkheadPolicy { pools: vec![pool("writes", "put*"), pool("reads", "get*")], ..Default::default() },
        fallback: FallbackPolicy {
            chain: vec![FallbackStep::Cached(CachedFallback::default())],
            ..FallbackPolicy::default()
        },
        ..PolicySpec::default()
    };
    let context = runtime.enter();
    let cofferdam = builder.default_policy(Policy::new(policy).unwrap()).start();
    drop(context);
    (runtime, cofferdam)
}

/// An answer that has to be waited for, once.
async fn yields() -> Result<u32, io::Error> {
    let mut has_waited = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
    Ok(1)
}

/// Allocations of the second time that something is done: what is set up once, per thread or service, is.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    allocation_counter::measure(work).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(7_u64))), 1);
}

#[test]
fn a_healthy_call_allocates_nothing_at_any_level() {
    for level in Level::ALL {
        // Polled by hand: a runtime boxes a future that it finds too large.
        let (runtime, service) = service(level);
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
        assert_eq!(allocations(call), 0, "at level {level}");
        assert_eq!(service.counters().served_live, 4);
    }
}

/// A manager that is out of reach and a disk that takes nothing are no business of a call's.
#[test]
fn a_call_allocates_nothing_with_no_manager_in_reach_and_a_disk_that_fails() {
    let occupied = tempfile::NamedTempFile::new().unwrap();
    let builder = Cofferdam::builder("test").manager("http://127.0.0.1:1").policy_dir(occupied.path());
    let (runtime, cofferdam) = started(builder, Level::Full);
    let service = cofferdam.service("orders-db");
    let mut events = cofferdam.events();
    let told = runtime.block_on(async { events.next().await });
    assert!(matches!(told, Some(Event::Disconnected { .. })), "{told:?}");
    assert!(cofferdam.policy_file().unwrap().refusal.is_some());
    let _context = runtime.enter();
    let call = || {
        let call = service.execute("get", || async { Ok::<_, io::Error>(1) }).into_future();
        assert!(matches!(call.now_or_never(), Some(Ok(1))));
    };
    assert_eq!(allocations(call), 0);
}

/// A call to a real service has to wait, and with it its timers begin to run.
#[test]
fn a_call_that_waits_allocates_nothing_at_any_level() {
    for level in Level::ALL {
        let (runtime, service) = service(level);
        let _context = runtime.enter();
        let call = || {
            let mut call = pin!(service.execute("get", yields).idempotent().into_future());
            let mut context = Context::from_waker(Waker::noop());
            assert!(call.as_mut().poll(&mut context).is_pending());
            assert!(matches!(call.as_mut().poll(&mut context), Poll::Ready(Ok(1))));
        };
        assert_eq!(allocations(call), 0, "at level {level}");
    }
}

/// While a service is down, callers must not pay for being told so.
#[test]
fn a_rejected_call_allocates_nothing() {
    let (runtime, service) = service(Level::Full);
    let _context = runtime.enter();
    let call = |result: Result<u32, io::ErrorKind>| {
        let call = service.execute("get", || std::future::ready(result.map_err(io::Error::from)));
        call.into_future().now_or_never().unwrap()
    };
    while service.breaker_state() == Some(BreakerState::Closed) {
        call(Err(io::ErrorKind::BrokenPipe)).unwrap_err();
    }
    assert_eq!(allocations(|| assert!(matches!(call(Ok(1)), Err(Error::Open { .. })))), 0);
}

/// Every call carries its future through every await above it.
#[test]
fn the_future_of_a_call_is_about_a_kilobyte_larger_than_its_operation() {
    let (_runtime, service) = service(Level::Full);
    let large = || async {
        let buffer = std::hint::black_box([0_u8; 4096]);
        yields().await.map(|_| std::hint::black_box(buffer).len())
    };
    let overhead = |call: usize, operation: usize| call.checked_sub(operation).unwrap();
    let small = overhead(size_of_val(&service.execute("get", yields).into_future()), size_of_val(&yields()));
    let large = overhead(size_of_val(&service.execute("get", large).into_future()), size_of_val(&large()));
    assert!(small <= 1352, "{small} bytes");
    assert!(large <= 1352, "{large} bytes: the operation is held more than once");
}
