use super::aimd;
use super::gradient2::Gradient2;
use super::window::{Overload, Window};
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};
use crate::time::Timestamp;
use std::time::Duration;

/// What is known of a service's capacity.
#[derive(Debug)]
pub(super) struct Learner {
    policy: AdaptiveLimitPolicy,
    algorithm: Algorithm,
    window: Window,
    /// From `min` to `max`; the limit in force is its whole part.
    estimate: f64,
    /// Whether the estimate is more than what the policy began with.
    has_learned: bool,
}

#[derive(Debug)]
enum Algorithm {
    Off,
    Gradient2(Gradient2),
    Aimd,
}

impl Learner {
    pub(super) fn new(policy: AdaptiveLimitPolicy) -> Self {
        Self {
            policy,
            algorithm: Algorithm::of(policy.kind),
            window: Window::new(),
            estimate: policy.initial.into(),
            has_learned: false,
        }
    }

    pub(super) fn set_policy(&mut self, policy: AdaptiveLimitPolicy) {
        if policy.kind != self.policy.kind {
            self.algorithm = Algorithm::of(policy.kind);
            self.window = Window::new();
        }
        self.policy = policy;
        self.estimate = if self.has_learned { self.bounded(self.estimate) } else { policy.initial.into() };
    }

    /// Takes in how a call went. `true`: there is a new estimate.
    pub(super) fn learn(&mut self, lesson: Result<Duration, Overload>, in_flight: u32, now: Timestamp) -> bool {
        let Some(sample) = self.window.add(lesson, in_flight, now) else {
            return false;
        };
        let estimate = match &mut self.algorithm {
            // The call began under a policy that is no longer in force.
            Algorithm::Off => return false,
            Algorithm::Gradient2(gradient) => gradient.next(self.estimate, self.policy.min.into(), &sample),
            Algorithm::Aimd => aimd::next(self.limit(), &sample).into(),
        };
        self.estimate = self.bounded(estimate);
        self.has_learned = true;
        true
    }

    /// The limit.
    pub(super) fn limit(&self) -> u32 {
        self.estimate as u32
    }

    fn bounded(&self, estimate: f64) -> f64 {
        // Not `clamp`, which panics where the bounds are the wrong way round.
        estimate.min(self.policy.max.into()).max(self.policy.min.into())
    }
}

impl Algorithm {
    fn of(kind: AdaptiveLimitKind) -> Self {
        match kind {
            AdaptiveLimitKind::Off => Self::Off,
            AdaptiveLimitKind::Gradient2 => Self::Gradient2(Gradient2::default()),
            AdaptiveLimitKind::Aimd => Self::Aimd,
        }
    }
}
