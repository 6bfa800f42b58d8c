//! What metrics show: this manager's own instances, and nobody else's, so that a sum over managers is the fleet.

use std::time::Duration;

use cofferdam_core::{adaptive_limit::Load, breaker::State, latency::SparseLatency, name::ServiceKey};
use tokio::time::Instant;

use super::{Condition, Inner, Instances, Recoveries, Reported, Service, Standing, Target, Transitions, convergence};
use crate::activity::Activity;

/// What the instances of this manager say of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposure {
    /// Sums since this manager started.
    pub activity: Activity,
    /// How long breakers took to recover.
    pub recoveries: Recoveries,
    /// What breakers did.
    pub transitions: Transitions,
    /// The least good of what is reported now.
    pub condition: Condition,
    /// How many instances report each state of a breaker.
    pub breakers: Vec<(State, u32)>,
    /// How many have the present policy.
    pub standing: Standing,
    /// For how long the one that has waited longest could have had the present policy, and has not said that it has, nor
    /// that it will not. Zero: there is none. Those that are silent do not count.
    pub lag: Duration,
    /// Instances with a breaker over which an operator's hold stands.
    pub held: u32,
    /// The adaptive limit and the calls in flight under it, summed over the instances that have one.
    pub adaptive_limit: Load,
}

/// Who is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Instances that hold a stream.
    pub connected: usize,
    /// Instances whose stream broke off and that are expected back.
    pub silent: usize,
    /// Services that instances name and nobody has registered.
    pub unregistered: usize,
}

impl Instances {
    /// What the instances of this manager say of a service.
    pub fn exposure(&self, target: &Target) -> Exposure {
        let inner = self.lock();
        let Some(service) = inner.services.get(&target.key) else {
            return Exposure::default();
        };
        let standing = convergence::standing(service, target);
        let mut exposure = Exposure {
            condition: service.condition(),
            breakers: service.tally.breakers().into(),
            standing,
            lag: if standing.pending > 0 { inner.lag(service, target) } else { Duration::ZERO },
            ..Exposure::default()
        };
        for member in service.members.values() {
            exposure.held = exposure.held.saturating_add((member.held > 0).into());
            if let Some(load) = member.adaptive_limit {
                add(&mut exposure.adaptive_limit, load);
            }
        }
        if let Some(reported) = service.reported.as_deref() {
            exposure.add(reported);
        }
        exposure
    }

    /// What the instances of this manager say of all services together that are none of `known`. States are left out.
    pub fn exposure_beyond(&self, known: impl Fn(&ServiceKey) -> bool) -> Exposure {
        let inner = self.lock();
        let mut sum = Exposure::default();
        let reported = |service: &Service| service.reported.is_some();
        for (_, service) in inner.services.iter().filter(|(key, service)| reported(service) && !known(key)) {
            if let Some(reported) = service.reported.as_deref() {
                sum.add(reported);
            }
        }
        sum
    }

    /// Who is there.
    pub fn presence(&self) -> Presence {
        let inner = self.lock();
        Presence { connected: inner.by_id.len(), silent: inner.silent.len(), unregistered: inner.unregistered }
    }

    /// How long connected instances took to put a policy in force, from when there was one for them to their
    /// acknowledgement, since this manager started.
    pub fn apply_latency(&self) -> SparseLatency {
        SparseLatency::from(&self.apply_latency.snapshot())
    }
}

impl Exposure {
    /// Adds those of another service.
    pub fn merge(&mut self, other: &Self) {
        let Self { activity, recoveries, transitions, condition, breakers, standing, lag, held, adaptive_limit } =
            other;
        self.activity.merge(activity);
        self.recoveries.merge(recoveries);
        self.transitions.merge(transitions);
        self.condition = self.condition.worse(*condition);
        for (state, count) in breakers {
            match self.breakers.iter_mut().find(|(known, _)| known == state) {
                Some((_, sum)) => *sum = sum.saturating_add(*count),
                None => self.breakers.push((*state, *count)),
            }
        }
        self.standing.merge(standing);
        self.lag = self.lag.max(*lag);
        self.held = self.held.saturating_add(*held);
        add(&mut self.adaptive_limit, *adaptive_limit);
    }

    /// Adds what is counted of another service; not its states.
    fn add(&mut self, reported: &Reported) {
        self.activity.merge(&reported.sums);
        self.recoveries.merge(reported.recoveries.so_far());
        self.transitions.merge(&reported.recoveries.transitions());
    }
}

fn add(sum: &mut Load, Load { limit, in_flight }: Load) {
    *sum = Load { limit: sum.limit.saturating_add(limit), in_flight: sum.in_flight.saturating_add(in_flight) };
}

impl Inner {
    fn lag(&self, service: &Service, target: &Target) -> Duration {
        let now = Instant::now();
        let waits = service.members.values().filter(|member| target.waits_for(member)).filter_map(|member| {
            let connected = self.by_id.get(&*member.id)?;
            Some(now.saturating_duration_since(target.since.max(connected.since)))
        });
        waits.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
