//! What an instance reports of a service.

use cofferdam_core::{adaptive_limit::Load, breaker::State, isolation::Part, name::ServiceKey};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{Condition, Losses, Session, Transition};
use crate::activity::Activity;

/// What happened to a service at an instance since its last report, and how it is now.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What happened.
    pub activity: Activity,
    /// What of it happened to methods that an override of the present policy is for, by its glob.
    pub methods: Vec<(String, Activity)>,
    /// How it is.
    pub condition: Condition,
    /// The service's own breaker by its rules alone; absent where none is in force.
    pub learned: Option<State>,
    /// Its breakers, its own and those that parts of it have to themselves, as far as they are not closed.
    pub parts: Vec<(Part, State)>,
    /// The adaptive limit; absent where none is in force.
    pub adaptive_limit: Option<Load>,
    /// Its breakers over which an operator's hold stands.
    pub held: u32,
    /// What its breakers did, of the parts that are known.
    pub transitions: Vec<Transition>,
    /// The last calls to it that were turned away, with when each was.
    pub rejections: Vec<(Instant, v1::RejectedCall)>,
    /// What the report should have said and does not.
    pub losses: Losses,
    /// Whether it is worth a history: names of services that nobody registered have no end.
    pub is_registered: bool,
}

impl Session {
    /// Takes a report in, where the instance uses the service.
    pub fn report(&self, key: &ServiceKey, report: Report) {
        let Report {
            activity,
            methods,
            condition,
            learned,
            parts,
            adaptive_limit,
            held,
            transitions,
            rejections,
            mut losses,
            is_registered,
        } = report;
        let (now, uptime) = (Instant::now(), self.instances.uptime());
        let changed = self.with(|inner| {
            let Some(service) = inner.services.get_mut(key) else { return false };
            let Some(member) = service.members.get_mut(&self.session) else { return false };

            (member.adaptive_limit, member.reported) = (adaptive_limit, Some(now));
            member.held = held;
            match &mut member.own {
                Some(own) => own.merge(&activity),
                None if activity == Activity::default() => {}
                None if inner.figures < self.instances.max_figures => {
                    inner.figures += 1;
                    member.own = Some(Box::new(activity.clone()));
                }
                None => losses.instance_figures_dropped = 1,
            }

            let before = std::mem::replace(&mut member.now, condition);
            let parts_before = std::mem::replace(&mut member.parts, parts);
            service.tally.remove(before, &parts_before);
            service.tally.add(condition, &member.parts);
            let learned_before = std::mem::replace(&mut member.learned, learned);
            service.census.remove(learned_before);
            service.census.add(learned);
            let has_changed = before != condition || learned_before != learned || parts_before != member.parts;

            inner.losses.merge(&losses);
            if is_registered {
                rejections.into_iter().for_each(|(at, call)| service.reported().rejections.add(at, call));
            }
            if activity != Activity::default() || losses != Losses::default() || !transitions.is_empty() {
                let reported = service.reported();
                reported.sums.merge(&activity);
                reported.record_methods(methods);
                if is_registered {
                    reported.history.record(&activity, uptime);
                }
                transitions.into_iter().for_each(|transition| reported.recoveries.observe(&self.id, transition));
                reported.losses.merge(&losses);
            }
            has_changed
        });
        if changed == Some(true) {
            self.instances.own_changed();
        }
    }

    /// So many reports of the instance never came.
    pub fn missed_reports(&self, count: u64) {
        let losses = Losses { reports_missed: count, ..Losses::default() };
        self.with(|inner| inner.losses.merge(&losses));
    }
}
