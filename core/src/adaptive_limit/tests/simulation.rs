//! What the algorithms come to with a service that has ten workers, each busy for 100 ms with a call, and clients that
//! wait for 500 ms.
//!
//! With fewer than ten in flight, workers are idle. With more, calls stand in the service's queue: with fifteen, they
//! take the 150 ms that gradient2 tolerates. Fifty are all that is answered in time, which is what AIMD looks for.

use super::*;
use service::{Observed, Service};

const WORK: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(500);
const WORKERS: usize = 10;

fn with_service(kind: AdaptiveLimitKind, test: impl FnOnce(&mut Service<'_>)) {
    let limit = AdaptiveLimit::new(&policy(kind));
    let mut service = Service::new(&limit, WORKERS, WORK, TIMEOUT);
    // A process rarely starts into an overload; see gradient2 for what becomes of one that does.
    service.offer(0.7, 30);
    test(&mut service);
}

fn assert_within(observed: Observed, lowest: u32, highest: u32) {
    assert!(lowest <= observed.lowest && observed.highest <= highest, "not in [{lowest}, {highest}]: {observed:?}");
}

#[test]
fn gradient2_keeps_the_workers_busy_and_the_queue_short() {
    for load in [1.2, 2.0, 5.0] {
        with_service(AdaptiveLimitKind::Gradient2, |service| {
            service.offer(load, 60);
            let observed = service.offer(load, 60);
            assert_within(observed, 13, 26);
            assert!(observed.throughput > 0.97 * service.capacity(), "at {load}: {observed:?}");
            assert!(observed.latency < 1.7, "at {load}: {observed:?}");
        });
    }
}

#[test]
fn aimd_finds_what_is_answered_in_time() {
    for load in [1.2, 2.0, 5.0] {
        with_service(AdaptiveLimitKind::Aimd, |service| {
            service.offer(load, 60);
            let observed = service.offer(load, 60);
            assert_within(observed, 30, 60);
            assert!(observed.throughput > 0.9 * service.capacity(), "at {load}: {observed:?}");
        });
    }
}

/// The original's limit grows for as long as a modest overload lasts.
/// <https://github.com/Netflix/concurrency-limits/pull/134>
#[test]
fn t41_a_modest_overload_that_lasts_does_not_make_gradient2_drift_up() {
    for load in [1.05, 1.2] {
        with_service(AdaptiveLimitKind::Gradient2, |service| {
            let early = service.offer(load, 300);
            service.offer(load, 1200);
            let late = service.offer(load, 300);
            assert!(late.highest <= early.highest + 5, "at {load}: {early:?}, then {late:?}");
            assert!(late.latency < 1.05 * early.latency, "at {load}: {early:?}, then {late:?}");
        });
    }
}

#[test]
fn both_shrink_with_the_service_and_grow_back() {
    for kind in BOTH {
        with_service(kind, |service| {
            service.offer(2.0, 60);
            let before = service.offer(2.0, 30);

            service.workers = WORKERS / 5;
            service.offer(10.0, 30);
            let less = service.offer(10.0, 60);
            assert!(less.highest <= before.lowest / 2, "{kind:?}: {before:?}, then {less:?}");
            assert!(less.throughput > 0.75 * service.capacity(), "{kind:?}: {less:?}");

            service.workers = WORKERS;
            service.offer(2.0, 60);
            let after = service.offer(2.0, 30);
            assert!(after.lowest + 5 > before.lowest, "{kind:?}: {before:?}, then {after:?}");
            assert!(after.throughput > 0.9 * service.capacity(), "{kind:?}: {after:?}");
        });
    }
}

/// No limit makes it faster, so that the limit must not stay at the floor for it.
#[test]
fn gradient2_gets_used_to_a_service_that_has_become_slower_by_itself() {
    with_service(AdaptiveLimitKind::Gradient2, |service| {
        // Thirty workers of 300 ms do what ten of 100 ms did.
        (service.work, service.workers) = (3 * WORK, 3 * WORKERS);
        service.timeout = 3 * TIMEOUT;
        let dip = service.offer(0.7, 30);
        let observed = service.offer(0.7, 60);
        assert!(dip.lowest > 5, "{dip:?}");
        assert!(observed.throughput > 0.65 * service.capacity(), "{observed:?}");
    });
}
