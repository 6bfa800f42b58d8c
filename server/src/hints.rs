//! Fleet hints: when many instances have opened the breaker of a service, the others hear of it.
//!
//! What a hint does is the engine's ([`cofferdam_core::fleet_hint`]). Here is decided when there is one: `decide` goes by
//! the policy and by a census of the connected instances, in which each counts once, however much it reports, and none
//! that is silent. So no instance can bring a hint about alone, and one that leaves takes its word with it.
//!
//! A hint lasts. Breakers of a service that is not well open and close by turns, and so would a hint that went with each of
//! them; instead it is given for a time and renewed in the middle of that time, while enough breakers are still open.
//! Nobody takes it back but the policy, which instances have themselves.
//!
//! Each manager tells the instances that are connected to it, and counts those of the other managers as well, as these
//! have last told it: all come to the same, and no manager waits for another.

use std::{sync::Arc, time::Duration};

use cofferdam_core::{
    level::Section,
    name::ServiceKey,
    policy::{FleetHintMode, FleetHintPolicy},
    time::WallTime,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    events::News,
    instances::{Census, Instances},
    registry::{Registered, Registry},
};

/// How often to look, at least: for renewals and for policies that have changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait after a breaker has moved: where one has, others do.
const SETTLING: Duration = Duration::from_millis(100);

/// A hint that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The service.
    pub key: ServiceKey,
    /// What there was to say when it was given, or renewed last.
    pub census: Census,
    /// Since when it has been in force, renewals included.
    pub since: Instant,
    /// When it is over, unless it is renewed.
    pub until: Instant,
}

impl Hint {
    /// How long it still lasts; zero where it is over.
    pub fn ends_in(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// What becomes of the hint of a service.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It is given: for the first time, or once more.
    Give(Hint),
    /// All is as it was.
    Keep,
    /// It is over.
    End,
}

/// Gives hints, renews them and lets them end, for as long as it runs.
pub(crate) async fn keep(registry: Arc<Registry>, instances: Arc<Instances>) {
    let mut changes = instances.version();
    loop {
        changes.borrow_and_update();
        look(&registry, &instances, Instant::now());
        // An error says that time is over, or that the instances are gone, which they are not.
        if timeout(INTERVAL, changes.changed()).await.is_ok() {
            sleep(SETTLING).await;
        }
    }
}

/// Looks at every service that could have a hint, or has one.
fn look(registry: &Registry, instances: &Instances, now: Instant) {
    let mut keys = instances.with_open_breakers();
    keys.extend(registry.hints().into_iter().map(|hint| hint.key.clone()));
    keys.sort();
    keys.dedup();
    for key in keys {
        let (before, registered) = (registry.hint(&key), registry.get(&key));
        let rule = registered.as_deref().and_then(|registered| rule(registered, registry.wall_time()));
        let census = instances.census(&key);
        match decide(&key, rule, census, before.as_deref(), now) {
            Decision::Give(hint) => {
                if before.is_none() {
                    let Census { open, instances } = census;
                    tracing::warn!(service = %key, open, instances, "breakers have opened at many instances: all are told");
                    registry.events().tell(News::fleet_hint(&key, true, open, instances));
                }
                registry.give_hint(hint);
            }
            Decision::Keep => {}
            Decision::End => {
                tracing::info!(service = %key, "the hint to its instances is over");
                registry.events().tell(News::fleet_hint(&key, false, census.open, census.instances));
                registry.end_hint(&key);
            }
        }
    }
}

/// What a service's policy says of hints at the level that counts now. `None`: it has no use for them.
fn rule(registered: &Registered, now: WallTime) -> Option<&FleetHintPolicy> {
    let hint = &registered.policy().fleet_hint;
    let listens = registered.level_at(now).enforces(Section::CircuitBreaker) && hint.mode != FleetHintMode::Off;
    listens.then_some(hint)
}

fn decide(
    key: &ServiceKey,
    rule: Option<&FleetHintPolicy>,
    census: Census,
    before: Option<&Hint>,
    now: Instant,
) -> Decision {
    let end = if before.is_some() { Decision::End } else { Decision::Keep };
    let Some(rule) = rule else { return end };
    let give = |since| Decision::Give(Hint { key: key.clone(), census, since, until: now + rule.ttl });
    match before.filter(|before| now < before.until) {
        Some(before) if is_reached(rule, census) && before.ends_in(now) <= rule.ttl / 2 => give(before.since),
        Some(_) => Decision::Keep,
        None if is_reached(rule, census) => give(now),
        None => end,
    }
}

/// Whether enough instances are open. One never is.
fn is_reached(rule: &FleetHintPolicy, census: Census) -> bool {
    let Census { open, instances } = census;
    open >= rule.min_open_instances.max(2) && f64::from(open) / f64::from(instances) >= rule.min_open_ratio
}

#[cfg(test)]
mod tests;
