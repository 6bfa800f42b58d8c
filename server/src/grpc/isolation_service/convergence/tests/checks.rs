//! What the manager says beside what is so.

use cofferdam_core::{
    revision::Revision,
    wire::{revision_from_wire, revision_to_wire},
};
use cofferdam_proto::v1::{self, GetConvergenceRequest, InstanceSyncState};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    model::{Service, State, is_met},
    world::{Bug, SERVICES, World},
};
use crate::error::Error;

impl World {
    /// Compares all that can be asked with what is so.
    pub(super) fn check(&mut self) -> Result<(), String> {
        for service in SERVICES {
            for asked in [None, self.earlier(service)] {
                self.check_service(service, asked)?;
            }
            self.check_truth(service)?;
        }
        let request = GetConvergenceRequest { max_laggards: 1_000, ..Default::default() };
        // Alone, a manager waits for nobody.
        let said = self.api.convergence(&request).now_or_never().unwrap().unwrap();
        self.check_namespace(&said)
    }

    fn check_service(&mut self, service: Service, asked: Option<Revision>) -> Result<(), String> {
        let revision = asked.map(revision_to_wire);
        let request =
            GetConvergenceRequest { service: service.to_owned(), revision, max_laggards: 1_000, ..Default::default() };
        match (self.api.convergence(&request).now_or_never().unwrap(), self.model.states(service, asked)) {
            (Err(Error::ServiceNotFound { .. }), None) => {
                self.seen.not_found += 1;
                Ok(())
            }
            (Ok(said), Some(_)) => self.check_figures(&said.services[0], asked),
            (said, states) => Err(format!("of {service} it is said {said:?}, and is {states:?}")),
        }
    }

    /// Whether what is said of a service is so.
    fn check_figures(&self, said: &v1::ServiceConvergence, asked: Option<Revision>) -> Result<(), String> {
        let service = SERVICES.into_iter().find(|service| *service == said.service).unwrap();
        let states = self.model.states(service, asked).ok_or("a service that is not there")?;
        let count = |of: State| states.values().filter(|state| **state == of).count() as u32;
        let are = [State::Applied, State::Pending, State::Refused, State::Silent].map(count);
        let is_same = |laggard: &v1::Laggard| {
            let state = match laggard.state() {
                InstanceSyncState::Pending => State::Pending,
                InstanceSyncState::Refused => State::Refused,
                InstanceSyncState::Silent => State::Silent,
                _ => State::Applied,
            };
            states.get(laggard.instance_id.as_str()) == Some(&state)
        };
        let is_so = [said.applied, said.pending, said.refused, said.silent] == are
            && said.instances as usize == states.len()
            && said.laggards.len() == states.len() - are[0] as usize
            && said.laggards.iter().all(is_same)
            && said.current_revision.map(revision_from_wire) == Some(self.model.policies[service].0);
        if is_so { Ok(()) } else { Err(format!("of {asked:?} it is said {said:?}, and is {states:?}")) }
    }

    fn check_namespace(&mut self, said: &v1::Convergence) -> Result<(), String> {
        let used = self.model.used();
        let is_done = |service: &Service| {
            let states = self.model.states(service, None).unwrap_or_default();
            states.values().all(|state| *state == State::Applied)
        };
        let (done, rest): (Vec<_>, Vec<_>) = used.iter().copied().partition(is_done);
        let named: Vec<_> = said.services.iter().map(|service| service.service.as_str()).collect();
        self.seen.converged += done.len() as u64;
        if (said.total_services as usize, said.converged_services as usize) != (used.len(), done.len()) || named != rest
        {
            return Err(format!("of the namespace it is said {said:?}, and done are {done:?} of {used:?}"));
        }
        said.services.iter().try_for_each(|service| self.check_figures(service, None))
    }

    /// Who counts as done and has nothing more to say has it in force.
    fn check_truth(&self, service: Service) -> Result<(), String> {
        let states = self.model.states(service, None).unwrap_or_default();
        for client in &self.clients {
            if states.get(client.id) == Some(&State::Applied) && client.outbox.is_empty() {
                let current = self.model.policies[service];
                let has_it = client.in_force.get(service).is_some_and(|policy| is_met(*policy, current.0, current));
                if !has_it {
                    return Err(format!("{} counts as done and has {:?}", client.id, client.in_force.get(service)));
                }
            }
        }
        Ok(())
    }

    /// Each wait is over as soon as it should be, and no sooner.
    pub(super) fn look_at_waits(&mut self) -> Result<(), String> {
        let mut waits = std::mem::take(&mut self.waits);
        let mut left = Vec::new();
        for mut wait in waits.drain(..) {
            let is_reached = self.model.is_reached(wait.service, wait.asked, wait.quorum);
            let is_late = Instant::now() >= wait.deadline;
            match (wait.look(), is_reached) {
                (None, Some(false)) if !is_late => left.push(wait),
                (Some(Err(Error::ServiceNotFound { .. })), None) => {}
                (Some(Ok(mut said)), Some(is_reached)) => {
                    said.reached |= self.bug == Some(Bug::GivesUpAsDone);
                    if said.reached != is_reached || !(is_reached || is_late) {
                        return Err(format!("{wait:?} ended with {said:?}, and reached is {is_reached}"));
                    }
                    let said = said.convergence.unwrap_or_default();
                    match wait.service {
                        Some(_) => self.check_figures(&said.services[0], wait.asked)?,
                        None => self.check_namespace(&said)?,
                    }
                    self.seen.reached += u64::from(is_reached);
                    self.seen.timed_out += u64::from(!is_reached);
                }
                (said, is_reached) => return Err(format!("{wait:?} says {said:?}, and reached is {is_reached:?}")),
            }
        }
        self.waits = left;
        Ok(())
    }
}
