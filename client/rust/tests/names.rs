//! Names without end.

use cofferdam::policy::BreakerPolicy;
use cofferdam::{Cofferdam, Level, Policy, PolicySpec};
use futures_util::FutureExt;
use std::convert::Infallible;
use std::time::Duration;

const NAMES: usize = 1_000_000;
/// What the documentation of `Cofferdam::service` promises where few are called, for services and for names that none can
/// have.
const PROMISED_BYTES: u64 = 64 << 20;

/// Breakers by user, by URL or by call, which nobody ever forgets.
/// <https://github.com/alibaba/Sentinel/issues/1329>, <https://github.com/fedify-dev/fedify/issues/916>,
/// <https://github.com/nodeshift/opossum/issues/365>
#[test]
fn t25_a_million_names_take_bounded_memory() {
    // A policy that goes by latency times every call.
    let breaker = BreakerPolicy { slow_call_duration: Duration::from_secs(1), ..BreakerPolicy::default() };
    let policy = PolicySpec { level: Level::Full, breaker, ..PolicySpec::default() };
    let cofferdam = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let name = |n: usize| format!("user-{n}");
    let use_once = |n: usize| {
        let service = cofferdam.service(&name(n));
        // A call to each would take this test a minute without teaching more.
        if n.is_multiple_of(100) {
            let answer = service.execute("get", || async { Ok::<_, Infallible>(1) }).into_future().now_or_never();
            assert_eq!(answer.unwrap().unwrap(), 1);
        }
    };
    let memory = allocation_counter::measure(|| (0..NAMES).for_each(use_once));
    assert!(memory.bytes_max < PROMISED_BYTES, "{} MiB at once", memory.bytes_max >> 20);
    // They are kept: what each call makes anew protects nobody.
    assert_eq!(cofferdam.service(&name(NAMES - 100)).counters().calls, 1);
}

/// What the documentation says where each is called, and where each has failed as well, with a tenth to spare.
#[test]
fn names_that_are_all_called_take_what_is_said_of_them() {
    for (names, fails, said_mib) in [(11_000, false, 74), (10_000, true, 112)] {
        let cofferdam = Cofferdam::builder("test").start();
        let call = |n: usize| {
            let service = cofferdam.service(&format!("user-{n}"));
            let answer = service.execute("get", || async { Ok::<_, Infallible>(1) }).into_future().now_or_never();
            assert_eq!(answer.unwrap().unwrap(), 1);
            if fails {
                let call = service.execute("get", || async { Err::<(), _>(std::io::Error::other("down")) });
                assert!(call.into_future().now_or_never().unwrap().is_err());
            }
        };
        let memory = allocation_counter::measure(|| (0..names).for_each(call));
        assert!(memory.bytes_max < (said_mib << 20) * 11 / 10, "{} KiB at once", memory.bytes_max >> 10);
    }
}
