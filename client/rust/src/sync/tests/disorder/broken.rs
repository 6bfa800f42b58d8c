//! Instances that are wrong.

use super::*;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bug {
    /// Revisions are not compared.
    TakesTheOlder,
    /// They are compared without their epochs.
    ForgetsTheEpoch,
    /// What was removed comes back by an older policy.
    ForgetsRemovals,
    /// A bad policy is no sign that older ones are outdated.
    ForgetsRefusals,
    /// Two policies under one revision are taken for one.
    BelievesTheRevision,
    /// The first answer removes what it did not name.
    RemovesOnSilence,
    /// A removal without a revision removes.
    RemovesForAnybody,
    /// Parts of the policy before stay.
    MixesPolicies,
    /// A policy is acknowledged that is not in force.
    AcknowledgesTheOutdated,
}

impl Bug {
    pub(super) const ALL: [Self; 9] = [
        Self::TakesTheOlder,
        Self::ForgetsTheEpoch,
        Self::ForgetsRemovals,
        Self::ForgetsRefusals,
        Self::BelievesTheRevision,
        Self::RemovesOnSilence,
        Self::RemovesForAnybody,
        Self::MixesPolicies,
        Self::AcknowledgesTheOutdated,
    ];
}

/// An instance with a bug, or with none.
pub(super) struct Broken {
    bug: Option<Bug>,
    services: [(Option<Revision>, InForce); SERVICES.len()],
}

impl Broken {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self { bug, services: [(None, built_in()), (None, built_in())] }
    }

    fn is_outdated(&self, service: usize, revision: Revision) -> bool {
        let newest = self.services[service].0;
        newest.is_some_and(|newest| match self.bug {
            Some(Bug::TakesTheOlder) => false,
            Some(Bug::ForgetsTheEpoch) => revision.revision < newest.revision,
            _ => revision < newest,
        })
    }

    fn update(&mut self, update: Update) -> Option<ToManager> {
        let Update { service: name, revision, policy, is_enabled, is_insisted: _, orders: _, as_of: _ } = update;
        let service = SERVICES.iter().position(|known| **known == *name).unwrap();
        let refused = |refusal, in_force: &InForce| {
            let in_force = in_force.revision.map(|revision| applied(&name, revision, &in_force.policy));
            let service = name.as_str().into();
            Some(ToManager::Refused { service, revision, refusal, in_force, is_contained: false })
        };
        let Some(revision) = revision else {
            return refused(
                Refusal { reason: "undated".to_owned(), field_path: String::new() },
                &self.services[service].1,
            );
        };
        if self.is_outdated(service, revision) {
            let is_told = self.bug == Some(Bug::AcknowledgesTheOutdated);
            return policy.ok().filter(|_| is_told).map(|policy| ToManager::Applied(applied(&name, revision, &policy)));
        }
        let (newest, in_force) = &mut self.services[service];
        match policy {
            Ok(policy) => {
                *newest = Some(revision);
                let is_known = in_force.revision == Some(revision);
                if !(is_known && self.bug == Some(Bug::BelievesTheRevision)) {
                    let mut spec = policy.to_spec();
                    if self.bug == Some(Bug::MixesPolicies) && in_force.revision.is_some() {
                        spec.bulkhead = in_force.policy.bulkhead.clone();
                    }
                    let policy = Policy::new(spec).unwrap();
                    *in_force = InForce { revision: Some(revision), policy, is_enabled };
                }
                Some(ToManager::Applied(applied(&name, revision, &in_force.policy)))
            }
            Err(refusal) => {
                if self.bug != Some(Bug::ForgetsRefusals) {
                    *newest = Some(revision);
                }
                refused(refusal, in_force)
            }
        }
    }
}

impl Instance for Broken {
    fn hear(&mut self, said: FromManager) -> Option<ToManager> {
        match said {
            FromManager::Update(update) => return self.update(update),
            FromManager::Removal { service, revision } => {
                let service = SERVICES.iter().position(|known| **known == *service).unwrap();
                let is_heard = match revision {
                    Some(revision) => !self.is_outdated(service, revision),
                    None => self.bug == Some(Bug::RemovesForAnybody),
                };
                if is_heard {
                    self.services[service].1 = built_in();
                    if self.bug != Some(Bug::ForgetsRemovals) {
                        self.services[service].0 = revision.or(self.services[service].0);
                    }
                }
            }
            FromManager::Complete(_) if self.bug == Some(Bug::RemovesOnSilence) => {
                self.services.iter_mut().for_each(|(_, in_force)| *in_force = built_in());
            }
            _ => {}
        }
        None
    }

    fn in_force(&self, service: usize) -> InForce {
        self.services[service].1.clone()
    }
}
