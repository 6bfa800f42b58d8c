//! A wall clock that jumps (F19): it is set by hand, by a leap second, or after the machine has slept. It is no clock that
//! anything is timed by.

use super::{LEVELS, SERVICE, near_and_far_on, stands};
use cofferdam_proto::v1::{
    BreakerState, IsolationLevel, RegisterServiceRequest, ServiceStats, SetIsolationLevelRequest,
};
use cofferdam_tests::wire::{breaker, position, registration, revision};
use cofferdam_tests::{Behaviour, Client, Manager, Preload, Process, Store, Upstream, eventually};
use std::process::Command;
use std::time::Duration;
use tonic::Code;

const HOUR: i64 = 3600;

/// Ahead, back behind the start, a leap second each way, and right again.
const JUMPS: [i64; 5] = [HOUR, -HOUR, -HOUR - 1, -HOUR, 0];

/// Levels with a breaker, which goes on as it was from one to the other.
const WITH_BREAKERS: [IsolationLevel; 2] = [IsolationLevel::Full, IsolationLevel::Enhanced];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_manager_whose_wall_clock_jumps_loses_no_stream_and_no_order_of_changes() {
    let faults = Preload::new();
    let variables = faults.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (mut manager, client, network, near, far) = near_and_far_on(Store::Embedded, &variables).await;
    let write = |turn: usize| SetIsolationLevelRequest {
        service: SERVICE.into(),
        level: LEVELS[turn % 2].into(),
        request_id: format!("turn-{turn}"),
        ..SetIsolationLevelRequest::default()
    };
    let mut newest = client.set_isolation_level(write(1)).await.unwrap().service.unwrap();
    for (turn, jump) in (2..).zip(JUMPS) {
        let before = faults.times_told();
        faults.jump(jump);
        // What was answered before is answered again, however old it looks.
        let again = client.set_isolation_level(write(turn - 1)).await.unwrap();
        assert_eq!(revision(again.service.as_ref()), revision(Some(&newest)), "{jump} s");
        let written = client.set_isolation_level(write(turn)).await.unwrap().service.unwrap();
        assert!(position(revision(Some(&written))) > position(revision(Some(&newest))), "{jump} s");
        newest = written;
        for instance in [&near, &far] {
            instance.follows(&newest).await;
        }
        stands(&client, [2, 0, 0, 0]).await;
        assert!(jump == 0 || faults.times_told() > before, "{jump} s: nobody has asked what time it is");
    }
    assert_eq!(network.seen().accepted, 1, "no stream was lost");
    // It starts in the past as well, and its leases and its epoch go by that no more than anything else.
    faults.jump(-24 * HOUR);
    manager.kill();
    manager.restart().await;
    let written = client.set_isolation_level(write(JUMPS.len() + 2)).await.unwrap().service.unwrap();
    assert!(position(revision(Some(&written))) > position(revision(Some(&newest))));
    for instance in [&near, &far] {
        instance.follows(&written).await;
    }
    assert!(!manager.process().log().contains("panicked"));
}

async fn stats(client: &Client) -> ServiceStats {
    client.info(SERVICE).await.unwrap().stats.unwrap()
}

async fn breaker_state(client: &Client) -> BreakerState {
    client.info(SERVICE).await.unwrap().service.unwrap().breaker_state()
}

async fn breakers(client: &Client, expected: BreakerState) {
    eventually("the breaker to be reported", async || match breaker_state(client).await {
        state if state == expected => Ok(()),
        state => Err(state),
    })
    .await;
}

/// An application of its own process, which calls all the time, with a breaker that is open for so long.
async fn caller(faults: &Preload, upstream: &Upstream, open: Duration) -> (Manager, Client, Process) {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let request =
        RegisterServiceRequest { policy: Some(breaker(3, open)), ..registration(SERVICE, IsolationLevel::Enhanced) };
    client.register(request).await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_caller"));
    command.args([&manager.url(), "caller", SERVICE, &upstream.address()]).envs(faults.variables());
    let mut process = Process::start("caller", &mut command);
    process.printed("that it calls", |line| (line == "calling").then_some(())).await;
    stands(&client, [1, 0, 0, 0]).await;
    (manager, client, process)
}

async fn ends_well(mut process: Process) {
    process.terminate();
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(!exit.log.contains("panicked"), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_an_open_breaker_does_not_close_because_an_hour_seems_to_have_passed() {
    let faults = Preload::new();
    let upstream = Upstream::start(Behaviour::fail(Code::Unavailable)).await;
    let (_manager, client, process) = caller(&faults, &upstream, Duration::from_secs(600)).await;
    breakers(&client, BreakerState::Open).await;
    let calls = upstream.calls();
    for (turn, jump) in JUMPS.into_iter().enumerate() {
        faults.jump(jump);
        // What a policy brings is reckoned from the time at which it comes into force.
        client.set_level(SERVICE, WITH_BREAKERS[turn % 2]).await.unwrap();
        stands(&client, [1, 0, 0, 0]).await;
        let before = stats(&client).await.counters.unwrap();
        eventually("more calls to be made", async || {
            let now = stats(&client).await.counters.unwrap();
            if now.calls > before.calls + 50 { Ok(()) } else { Err(now) }
        })
        .await;
        assert_eq!(upstream.calls(), calls, "{jump} s: a call went out");
    }
    assert_eq!(breaker_state(&client).await, BreakerState::Open);
    assert!(faults.times_told() > 0, "nobody has asked what time it is");
    ends_well(process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_an_open_breaker_closes_though_the_clock_was_set_back() {
    let faults = Preload::new();
    let upstream = Upstream::start(Behaviour::fail(Code::Unavailable)).await;
    let (_manager, client, process) = caller(&faults, &upstream, Duration::from_secs(1)).await;
    breakers(&client, BreakerState::Open).await;
    faults.jump(-HOUR);
    client.set_level(SERVICE, WITH_BREAKERS[0]).await.unwrap();
    stands(&client, [1, 0, 0, 0]).await;
    upstream.behave(Behaviour::echo());
    breakers(&client, BreakerState::Closed).await;
    let before = upstream.calls();
    eventually("calls to go out", async || match upstream.calls() {
        calls if calls > before + 20 => Ok(()),
        calls => Err(calls),
    })
    .await;
    assert!(faults.times_told() > 0, "nobody has asked what time it is");
    ends_well(process).await;
}
