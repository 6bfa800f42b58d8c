//! The stage: a manager, an upstream and both groups of callers, all real, all in this process, all on sockets.

use super::board::{Breakers, CommandResult};
use super::callers::{Callers, INSTANCES, Naive, Plain, Protected, connect};
use super::commands::SERVICE;
use super::manager::Manager;
use super::measure::{Group, Meter};
use super::operator::Operator;
use super::upstream::{Fault, Upstream};
use crate::error::Error;
use cofferdam::{Cofferdam, Service};
use cofferdam_core::level::Level;
use cofferdam_core::revision::Revision;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;

/// How long a policy may take to reach every instance, on a very busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of the stage may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    manager: Manager,
    operator: Operator,
    upstream: Upstream,
    instances: Vec<Instance>,
    callers: Vec<Callers>,
}

/// One protected process, as far as the manager can tell.
#[derive(Debug)]
struct Instance {
    sdk: Cofferdam,
    service: Service,
}

impl Stage {
    /// Starts everything but the callers, and waits until every instance has the policy that was registered.
    ///
    /// # Errors
    ///
    /// Something could not be started, or the policy did not reach the instances.
    pub(crate) async fn set(meter: &Meter, total: Duration, seed: u64) -> Result<Self, Error> {
        let manager = Manager::start().await?;
        let upstream = Upstream::start(meter.clone(), seed).await?;
        let operator = Operator::new(channel(manager.address())?);
        // So that a breaker of a short script opens and recovers as often as one of a long script.
        let open_duration = (total / 50).clamp(Duration::from_millis(150), Duration::from_millis(800));
        let registered = operator.register(upstream.address(), open_duration).await?;
        let instances = (1..=INSTANCES).map(|number| Instance::start(number, manager.address())).collect();
        let stage = Self { manager, operator, upstream, instances, callers: Vec::new() };
        stage.applied_everywhere(registered).await?;
        Ok(stage)
    }

    /// Puts both groups to work.
    ///
    /// # Errors
    ///
    /// The upstream's address cannot be dialled.
    pub(crate) fn call(&mut self, meter: &Meter, seed: u64) -> Result<(), Error> {
        let address = self.upstream.address();
        let naive = (0..INSTANCES).map(|_| Ok(Naive(Plain::new(channel(address)?, Group::Unprotected))));
        let naive: Vec<_> = naive.collect::<Result<_, Error>>()?;
        let protected = self.instances.iter().map(|instance| {
            let plain = Plain::new(channel(address)?, Group::Protected);
            Ok(Protected { service: instance.service.clone(), plain })
        });
        let protected: Vec<_> = protected.collect::<Result<_, Error>>()?;
        self.callers = vec![
            Callers::start(Group::Unprotected, naive, meter, seed),
            Callers::start(Group::Protected, protected, meter, seed),
        ];
        Ok(())
    }

    /// Where the manager listens, for people.
    pub(crate) fn manager_address(&self) -> String {
        self.manager.address().to_string()
    }

    /// What is wrong with the upstream.
    pub(crate) fn fault(&self) -> Fault {
        self.upstream.fault()
    }

    /// Makes something wrong with the upstream, or heals it.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.upstream.set_fault(fault);
    }

    /// The breakers of the instances.
    pub(crate) fn breakers(&self) -> Breakers {
        Breakers::count(self.instances.iter().map(|instance| instance.service.breaker_state()))
    }

    /// Sets the level through the manager, and waits until every instance has applied it.
    ///
    /// # Errors
    ///
    /// The manager refused, or the policy did not reach the instances.
    pub(crate) async fn set_level(&self, level: Level) -> Result<CommandResult, Error> {
        let sent = Instant::now();
        let revision = self.operator.set_level(level).await?;
        self.applied_everywhere(revision).await?;
        let instances = self.instances.len();
        let took = sent.elapsed();
        Ok(CommandResult::Applied { instances, of: instances, took, revision: revision.revision })
    }

    /// Ends everything, in an order in which nobody misses anybody.
    pub(crate) async fn strike(mut self) {
        self.callers.clear();
        let farewells = self.instances.iter().map(|instance| instance.sdk.shutdown());
        // Who is not ready by then is left to the end of the process.
        let _ = tokio::time::timeout(FAREWELL, futures_util::future::join_all(farewells)).await;
        drop(self.upstream);
        let _ = tokio::time::timeout(FAREWELL, self.manager.stop()).await;
    }

    async fn applied_everywhere(&self, revision: Revision) -> Result<(), Error> {
        let waits = self.instances.iter().map(|instance| instance.applied(revision));
        let all = futures_util::future::join_all(waits);
        if tokio::time::timeout(PATIENCE, all).await.is_ok() {
            return Ok(());
        }
        Err(Error::NotApplied {
            revision: revision.revision,
            applied: self.instances.iter().filter(|instance| instance.has(revision)).count(),
            of: self.instances.len(),
            within: PATIENCE,
        })
    }
}

impl Instance {
    fn start(number: usize, manager: SocketAddr) -> Self {
        let sdk = Cofferdam::builder("demo")
            .manager(format!("http://{manager}"))
            .instance_id(format!("demo-{number}"))
            .start();
        let service = sdk.service(SERVICE);
        Self { sdk, service }
    }

    fn has(&self, revision: Revision) -> bool {
        self.service.revision() >= Some(revision)
    }

    /// Waits until a policy of at least this revision is in force.
    async fn applied(&self, revision: Revision) {
        let mut events = self.sdk.events();
        // Events tell when to look; what is in force decides, whatever events were missed.
        while !self.has(revision) && events.next().await.is_some() {}
    }
}

fn channel(address: SocketAddr) -> Result<Channel, Error> {
    connect(address).map_err(|source| Error::NoChannel { address: address.to_string(), source })
}
