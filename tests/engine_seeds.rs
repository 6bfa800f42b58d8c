//! The circuit breakers of the systems that Cofferdam was made to replace, by their own numbers, on virtual time: what
//! their presets open and close on, and what is just not enough.

use cofferdam_core::breaker::{Breaker, State};
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{BreakerPolicy, Policy, Preset};
use cofferdam_core::time::Timestamp;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A breaker by a preset, and a clock.
struct Bench {
    breaker: Breaker,
    policy: BreakerPolicy,
    now: Timestamp,
}

impl Bench {
    fn new(preset: Preset) -> Self {
        let policy = Policy::new(preset.spec()).unwrap().breaker.clone();
        Self { breaker: Breaker::new(&policy), policy, now: Timestamp::from_millis(77_000) }
    }

    fn advance(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    /// Makes a call that must be let through.
    #[track_caller]
    fn call(&self, outcome: Outcome) {
        let admitted = self.breaker.admit(&self.policy, self.now, || u64::MAX);
        let admission = admitted.expect("the call is let through").admission;
        admission.record(&self.policy, outcome, Duration::ZERO, self.now, || u64::MAX);
    }

    #[track_caller]
    fn calls(&self, outcome: Outcome, count: u32) {
        for _ in 0..count {
            self.call(outcome);
        }
    }

    fn rejects(&self) -> bool {
        self.breaker.admit(&self.policy, self.now, || u64::MAX).is_err()
    }

    fn state(&self) -> State {
        self.breaker.state(self.now)
    }

    /// Asserts that an open breaker lets nothing through until exactly `open` has passed, and then a probe.
    #[track_caller]
    fn stays_open_for(&mut self, open: Duration) {
        assert!(self.rejects(), "open at once");
        self.advance(open - MILLISECOND);
        assert!(self.rejects(), "still open 1 ms before {open:?}");
        assert_eq!(self.state(), State::Open);
        self.advance(MILLISECOND);
        assert_eq!(self.state(), State::HalfOpen, "probing at {open:?}");
    }
}

#[test]
fn a3_flask_module_opens_at_the_fifth_failure_in_a_row_for_60_s_and_closes_at_the_second_success() {
    let mut bench = Bench::new(Preset::FlaskModule);
    bench.calls(Outcome::Failure, 4);
    assert_eq!(bench.state(), State::Closed, "4 failures are not 5");
    bench.call(Outcome::Failure);
    assert_eq!(bench.state(), State::Open);

    bench.stays_open_for(Duration::from_secs(60));
    bench.call(Outcome::Success);
    assert_eq!(bench.state(), State::HalfOpen, "1 success is not 2");
    bench.call(Outcome::Success);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn flask_module_counts_failures_in_a_row_only() {
    let bench = Bench::new(Preset::FlaskModule);
    for _ in 0..20 {
        bench.calls(Outcome::Failure, 4);
        bench.call(Outcome::Success);
    }
    assert_eq!(bench.state(), State::Closed, "80 failures, never 5 in a row");
}

#[test]
fn flask_module_counts_failures_in_a_row_however_far_apart() {
    let mut bench = Bench::new(Preset::FlaskModule);
    for _ in 0..5 {
        assert_eq!(bench.state(), State::Closed);
        bench.call(Outcome::Failure);
        bench.advance(Duration::from_secs(3600));
    }
    assert!(bench.state() != State::Closed, "5 failures in a row, an hour apart");
}

#[test]
fn flask_module_opens_again_for_60_s_when_a_probe_fails() {
    let mut bench = Bench::new(Preset::FlaskModule);
    bench.calls(Outcome::Failure, 5);
    bench.stays_open_for(Duration::from_secs(60));
    bench.call(Outcome::Success);
    bench.call(Outcome::Failure);
    bench.stays_open_for(Duration::from_secs(60));
    bench.calls(Outcome::Success, 2);
    assert_eq!(bench.state(), State::Closed);
}

/// The numbers of one of the four breakers: failures, open time, window and calls that the window must hold.
struct Counted {
    preset: Preset,
    failures: u32,
    open: Duration,
    window: Duration,
    volume: u32,
}

const fn counted(preset: Preset, failures: u32, open: u64, window: u64, volume: u32) -> Counted {
    Counted { preset, failures, open: Duration::from_secs(open), window: Duration::from_secs(window), volume }
}

/// The seed gives window and volume for database and cache; those of auth and external-api are the preset's own.
const COUNTED: [Counted; 4] = [
    counted(Preset::Database, 3, 15, 30, 5),
    counted(Preset::Cache, 5, 10, 60, 10),
    counted(Preset::Auth, 3, 20, 30, 5),
    counted(Preset::ExternalApi, 5, 30, 60, 10),
];

#[test]
fn d2_the_four_open_on_the_failure_that_completes_count_and_volume_and_for_their_time() {
    for Counted { preset, failures, open, volume, .. } in COUNTED {
        let mut bench = Bench::new(preset);
        bench.calls(Outcome::Success, volume - failures);
        bench.calls(Outcome::Failure, failures - 1);
        assert_eq!(bench.state(), State::Closed, "{preset}: one failure and one call short");
        bench.call(Outcome::Failure);
        assert_eq!(bench.state(), State::Open, "{preset}: {failures} failures among {volume} calls");

        bench.stays_open_for(open);
        bench.call(Outcome::Success);
        assert_eq!(bench.state(), State::HalfOpen, "{preset}");
        bench.call(Outcome::Success);
        assert_eq!(bench.state(), State::Closed, "{preset}");
    }
}

#[test]
fn e3_the_four_wait_for_their_volume_and_never_open_on_a_success() {
    for Counted { preset, failures, volume, .. } in COUNTED {
        let bench = Bench::new(preset);
        bench.calls(Outcome::Failure, failures);
        bench.calls(Outcome::Success, volume - 1 - failures);
        assert_eq!(bench.state(), State::Closed, "{preset}: {failures} failures among {} calls", volume - 1);
        bench.call(Outcome::Success);
        assert_eq!(bench.state(), State::Closed, "{preset}: enough of both, but the last call is a success");
        bench.call(Outcome::Failure);
        assert_eq!(bench.state(), State::Open, "{preset}: the next failure opens");
    }
}

#[test]
fn the_four_forget_failures_that_left_the_window() {
    for Counted { preset, failures, window, volume, .. } in COUNTED {
        let mut bench = Bench::new(preset);
        bench.calls(Outcome::Success, volume);
        bench.calls(Outcome::Failure, failures - 1);
        bench.advance(window + window);
        bench.calls(Outcome::Success, volume);
        bench.call(Outcome::Failure);
        assert_eq!(bench.state(), State::Closed, "{preset}: {failures} failures, all but one of them too old");
    }
}

#[test]
fn the_four_learn_nothing_from_calls_that_say_nothing() {
    for Counted { preset, volume, .. } in COUNTED {
        let bench = Bench::new(preset);
        bench.calls(Outcome::Neutral, volume * 10);
        assert_eq!(bench.state(), State::Closed, "{preset}");
    }
}
