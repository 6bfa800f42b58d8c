//! The mode that watches and never rejects.

use super::*;

fn watching() -> Bench {
    let bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::MetricsOnly, None);
    bench
}

#[test]
fn what_would_open_is_told_and_nothing_is_rejected() {
    let mut bench = watching();
    let opened = bench.calls(Outcome::Failure, 5).unwrap();
    assert_eq!((opened.to, opened.cause, opened.is_enforced), (State::Open, Cause::ConsecutiveFailures, false));
    assert_eq!(bench.calls(Outcome::Failure, 100), None, "they would have been rejected: nothing is learned");
    assert_eq!((bench.state(), bench.breaker.would_reject(bench.now)), (State::Closed, None));

    bench.advance(Duration::from_secs(30));
    let probing = bench.call(Outcome::Success).unwrap();
    assert_eq!((probing.to, probing.is_enforced), (State::HalfOpen, false));
    let closed = bench.call(Outcome::Success).unwrap();
    assert_eq!((closed.to, closed.cause, closed.is_enforced), (State::Closed, Cause::ProbesSucceeded, false));
}

#[test]
fn a_call_beyond_the_probes_that_would_be_admitted_takes_no_slot() {
    let mut bench = watching();
    bench.calls(Outcome::Failure, 5);
    bench.advance(Duration::from_secs(30));
    let probes = [bench.admit().unwrap().admission, bench.admit().unwrap().admission];
    for _ in 0..10 {
        let beyond = bench.admit().unwrap().admission;
        assert!(!beyond.is_probe());
        assert_eq!(bench.record(beyond, Outcome::Failure), Recorded::default());
    }
    let closed = probes.map(|probe| bench.record(probe, Outcome::Success).transition.map(|made| made.to));
    assert_eq!(closed, [None, Some(State::Closed)]);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_another_mode_takes_over_where_the_rules_stand() {
    let bench = watching();
    bench.calls(Outcome::Failure, 5);
    bench.breaker.set_mode(BreakerMode::Auto, None);
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(30)));
    bench.breaker.set_mode(BreakerMode::MetricsOnly, None);
    assert!(bench.admit().is_ok());
}
