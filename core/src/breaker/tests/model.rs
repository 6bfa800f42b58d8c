//! The breaker against a model that keeps every outcome.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

/// What a breaker does, told as plainly as possible: every outcome is kept, and looked through at each decision.
struct Model {
    policy: BreakerPolicy,
    state: ModelState,
    generation: u64,
    outcomes: Vec<(u64, Outcome, bool)>,
    consecutive: u32,
    /// When it last closed.
    closed: Option<u64>,
}

enum ModelState {
    Closed,
    Open { until: u64 },
    HalfOpen { since: u64, in_flight: u32, successes: u32 },
}

impl Model {
    fn admit(&mut self, now: u64) -> bool {
        if let ModelState::Open { until } = self.state {
            if now < until {
                return false;
            }
            self.probe(now);
        }
        let (threshold, lease) = (self.policy.success_threshold, self.policy.lease().as_millis() as u64);
        match &mut self.state {
            ModelState::HalfOpen { since, in_flight, successes } if *in_flight + *successes < threshold => {
                *since = now;
                *in_flight += 1;
            }
            ModelState::HalfOpen { since, .. } if now < *since + lease => return false,
            ModelState::HalfOpen { .. } => {
                self.probe(now);
                return self.admit(now);
            }
            _ => {}
        }
        true
    }

    fn ramp(&self, now: u64, share: f64) -> bool {
        let (ModelState::Closed, Some(closed)) = (&self.state, self.closed) else { return true };
        let passed = (now - closed) as f64 / self.policy.ramp_duration.as_millis() as f64;
        self.policy.ramp_duration.is_zero()
            || self.policy.mode != BreakerMode::Auto
            || share < passed.max(self.policy.ramp_min_ratio)
    }

    fn probe(&mut self, now: u64) {
        self.generation += 1;
        self.state = ModelState::HalfOpen { since: now, in_flight: 0, successes: 0 };
    }

    fn record(&mut self, generation: u64, outcome: Outcome, is_slow: bool, now: u64) {
        if generation != self.generation {
            return;
        }
        match (&mut self.state, outcome) {
            (ModelState::Closed, Outcome::Neutral) | (ModelState::Open { .. }, _) => {}
            (ModelState::Closed, _) => {
                self.outcomes.push((now, outcome, is_slow));
                self.consecutive = if outcome == Outcome::Failure { self.consecutive + 1 } else { 0 };
                if (outcome == Outcome::Failure && self.trips(now)) || (is_slow && self.is_too_slow(now)) {
                    self.open(now);
                }
            }
            (ModelState::HalfOpen { in_flight, successes, .. }, outcome) => {
                *in_flight -= 1;
                match outcome {
                    Outcome::Neutral => {}
                    Outcome::Failure => self.open(now),
                    Outcome::Success if is_slow && self.policy.slow_call_rate > 0.0 => self.open(now),
                    Outcome::Success => {
                        *successes += 1;
                        if *successes == self.policy.success_threshold {
                            self.generation += 1;
                            self.state = ModelState::Closed;
                            self.closed = Some(now);
                            self.outcomes.clear();
                            self.consecutive = 0;
                        }
                    }
                }
            }
        }
    }

    fn open(&mut self, now: u64) {
        self.generation += 1;
        self.state = ModelState::Open { until: now + self.policy.open_duration.as_millis() as u64 };
    }

    /// The calls in the window.
    fn inside(&self, now: u64) -> impl Iterator<Item = &(u64, Outcome, bool)> + Clone {
        let (newest, oldest, bucket) = match self.policy.window {
            BreakerWindow::Time(window) => {
                let bucket = window.length.as_millis() as u64 / u64::from(window.buckets);
                (usize::MAX, (now / bucket + 1).saturating_sub(u64::from(window.buckets)), bucket)
            }
            BreakerWindow::Count(size) => (size as usize, 0, 1),
        };
        let skipped = self.outcomes.len().saturating_sub(newest);
        self.outcomes.iter().skip(skipped).filter(move |(at, ..)| at / bucket >= oldest)
    }

    fn is_too_slow(&self, now: u64) -> bool {
        let calls = self.inside(now).count() as f64;
        let slow = self.inside(now).filter(|(.., is_slow)| *is_slow).count() as f64;
        let rate = self.policy.slow_call_rate;
        calls >= f64::from(self.policy.minimum_calls) && rate > 0.0 && slow / calls >= rate
    }

    fn trips(&self, now: u64) -> bool {
        let inside = self.inside(now);
        let calls = inside.clone().count() as f64;
        let failures = inside.filter(|(_, outcome, _)| *outcome == Outcome::Failure).count() as f64;
        let consecutive = self.policy.consecutive_failures;
        (consecutive > 0 && self.consecutive >= consecutive)
            || (calls >= f64::from(self.policy.minimum_calls)
                && ((self.policy.failure_count > 0 && failures >= f64::from(self.policy.failure_count))
                    || (self.policy.failure_rate > 0.0 && failures / calls >= self.policy.failure_rate)))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u16),
    End(usize, Outcome, bool),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![3 => Just(Outcome::Success), 3 => Just(Outcome::Failure), 1 => Just(Outcome::Neutral)];
    prop_oneof![
        4 => any::<u16>().prop_map(Step::Begin),
        4 => (any::<usize>(), outcome, prop::bool::weighted(0.3))
            .prop_map(|(which, outcome, is_slow)| Step::End(which, outcome, is_slow)),
        1 => (0u64..3_000).prop_map(Step::Advance),
        1 => (0u64..40_000).prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(
        (consecutive, count, rate, minimum, threshold) in (0u32..6, 0u32..8, 0u8..3, 0u32..8, 1u32..4),
        (slow_call_duration, slow_rate) in (prop_oneof![Just(SECOND), Just(Duration::ZERO)], 0u8..4),
        window in prop_oneof![Just(BreakerWindow::default()), (1u32..12).prop_map(BreakerWindow::Count)],
        (is_watched, ramp) in (any::<bool>(), prop_oneof![Just(Duration::ZERO), Just(10 * SECOND)]),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mode = if is_watched { BreakerMode::MetricsOnly } else { BreakerMode::Auto };
        let policy = BreakerPolicy {
            mode,
            window,
            ramp_duration: ramp,
            consecutive_failures: consecutive,
            failure_count: count,
            failure_rate: f64::from(rate) / 2.0,
            slow_call_duration,
            slow_call_rate: f64::from(slow_rate) / 4.0,
            minimum_calls: minimum,
            success_threshold: threshold,
            open_jitter_ratio: 0.0,
            ..BreakerPolicy::default()
        };
        let breaker = Breaker::new(&policy);
        breaker.set_mode(mode, None);
        let mut model = Model {
            policy: policy.clone(), state: ModelState::Closed, generation: 0, outcomes: Vec::new(), consecutive: 0,
            closed: None,
        };
        let mut now = 50_000;
        let mut out: Vec<(Admission<'_>, u64)> = Vec::new();
        for step in steps {
            let at = Timestamp::from_millis(now);
            match step {
                Step::Advance(millis) => now += millis,
                Step::Begin(random) => {
                    let ramp = breaker.ramp(&policy, at, || u64::from(random) << 48);
                    prop_assert_eq!(ramp.is_ok(), model.ramp(now, f64::from(random) / 65_536.0));
                    if ramp.is_err() {
                        continue;
                    }
                    let admitted = breaker.admit(&policy, at, || 0);
                    let expected = model.admit(now);
                    prop_assert_eq!(admitted.is_ok(), expected || is_watched);
                    // One that would have been rejected belongs to no generation.
                    let generation = if expected { model.generation } else { u64::MAX };
                    out.extend(admitted.ok().map(|admitted| (admitted.admission, generation)));
                }
                Step::End(which, outcome, is_slow) if !out.is_empty() => {
                    let (admission, generation) = out.swap_remove(which % out.len());
                    let latency = if is_slow { SECOND } else { SECOND - Duration::from_nanos(1) };
                    admission.record(&policy, outcome, latency, at, || 0);
                    model.record(generation, outcome, is_slow && policy.slow_call_duration == SECOND, now);
                }
                Step::End(..) => {}
            }
            let expected = match model.state {
                ModelState::Closed => State::Closed,
                ModelState::Open { until } if now < until => State::Open,
                _ => State::HalfOpen,
            };
            prop_assert_eq!(breaker.learned_state(Timestamp::from_millis(now)), expected);
        }
    }
}
