//! What an instance reports of a service.

use cofferdam_core::{adaptive_limit::Load, breaker::State, isolation::Part, name::ServiceKey};

use super::{Condition, Losses, Session};
use crate::activity::Activity;

/// What happened to a service at an instance since its last report, and how it is now.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What happened.
    pub activity: Activity,
    /// How it is.
    pub condition: Condition,
    /// The breakers that parts of it have to themselves, as far as they are not closed.
    pub parts: Vec<(Part, State)>,
    /// The adaptive limit; absent where none is in force.
    pub adaptive_limit: Option<Load>,
    /// What the report should have said and does not.
    pub losses: Losses,
}

impl Session {
    /// Takes a report in, where the instance uses the service.
    pub fn report(&self, key: &ServiceKey, report: Report) {
        let Report { activity, condition: now, parts, adaptive_limit, losses } = report;
        let changed = self.with(|inner| {
            inner.losses.merge(&losses);
            let service = inner.services.get_mut(key)?;
            let member = service.members.get_mut(&self.session)?;
            service.sums.merge(&activity);
            service.losses.merge(&losses);
            let before = std::mem::replace(&mut member.now, now);
            (member.parts, member.adaptive_limit) = (parts, adaptive_limit);
            service.tally.remove(before);
            service.tally.add(now);
            Some(before != now)
        });
        if changed == Some(Some(true)) {
            self.instances.changed();
        }
    }

    /// So many reports of the instance never came.
    pub fn missed_reports(&self, count: u64) {
        let losses = Losses { reports_missed: count, ..Losses::default() };
        self.with(|inner| inner.losses.merge(&losses));
    }
}
