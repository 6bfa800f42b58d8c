//! The handle to one service.

use crate::AdaptiveLimitLoad;
use crate::Error;
use crate::client::Cofferdam;
use crate::execute::{Execute, Plain, prepare};
use crate::fleet_hint::FleetHint;
use crate::panics::tell;
use crate::register::Register;
use crate::registry::ServiceState;
use crate::runtime::Tokio;
use cofferdam_core::breaker::State;
use cofferdam_core::call::Attempt;
use cofferdam_core::health::HealthStatus;
use cofferdam_core::hold::Hold;
use cofferdam_core::isolation::{BreakerReceipt, Part};
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::stats::CounterSnapshot;
use std::sync::Arc;

/// A service that this process calls. Made by [`Cofferdam::service`]; keep it, and clone it at will: a call by a kept
/// handle looks nothing up.
#[derive(Clone, Debug)]
pub struct Service {
    client: Cofferdam,
    state: Arc<ServiceState>,
    /// The name, where it is not that of the state: one of many that share it.
    name: Option<Arc<str>>,
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The program: [`Builder::default_policy`](crate::Builder::default_policy). The manager has no other, or has not
    /// been heard.
    BuiltIn,
    /// The file that an earlier process kept it in; see [`Builder::policy_dir`](crate::Builder::policy_dir). The manager
    /// has sent no other since: it has not been heard, or has nothing newer.
    File,
    /// The manager, which sent it to this process.
    Manager,
}

impl Service {
    pub(crate) fn new(client: Cofferdam, name: &str, state: Arc<ServiceState>) -> Self {
        let name = (*state.name != *name).then(|| name.into());
        Self { client, state, name }
    }

    /// Prepares a protected call; awaiting it makes the call.
    ///
    /// `method` says what is called: by it the policy picks its override for methods and its pool, and answers are
    /// cached under it. `call` makes one attempt; it is run again where the policy retries, so it clones what its
    /// future is to own and lends the rest. The future is `Send`, and the error's type borrows nothing. A future that
    /// is dropped, by a timeout or by the caller, must stop what it does. A timeout around the call drops all of it,
    /// and the breaker learns nothing: [`Execute::timeout`] is for that.
    ///
    /// ```
    /// # async fn fetch(id: u32) -> Result<String, std::io::Error> { Ok(id.to_string()) }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let cofferdam = cofferdam::Cofferdam::builder("checkout").start();
    /// let users = cofferdam.service("users");
    /// let name = users.execute("name", || fetch(7)).idempotent().await?;
    /// assert_eq!(name, "7");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The future is about a kilobyte larger than the one that `call` makes; nothing is allocated for it.
    pub fn execute<'a, F, Fut, T, E>(
        &'a self,
        method: &'a str,
        mut call: F,
    ) -> Execute<'a, impl FnMut(Attempt) -> Fut + Send, Plain, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Send + 'static,
    {
        self.execute_with(method, move |_| call())
    }

    /// As [`execute`](Self::execute), with a look at the [`Attempt`]: its number, and the time that is left for it,
    /// which the service should be told.
    pub fn execute_with<'a, F, Fut, T, E>(
        &'a self,
        method: &'a str,
        call: F,
    ) -> Execute<'a, F, Plain, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Send + 'static,
    {
        prepare(self, method, call)
    }

    /// The name. One of [many](Cofferdam::service) may be protected by what they share: then all else
    /// here is about that.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.state.name)
    }

    /// The policy in force, at the level that counts now: a temporary one has taken the place of the policy's own.
    pub fn policy(&self) -> Policy {
        self.state.isolation.in_force().policy.clone()
    }

    /// The revision of the policy in force. `None`: the built-in default.
    pub fn revision(&self) -> Option<Revision> {
        self.state.isolation.in_force().revision
    }

    /// Where the policy in force comes from.
    pub fn origin(&self) -> Origin {
        self.state.origin()
    }

    /// Whether the service may be called; an operator can switch it off.
    pub fn is_enabled(&self) -> bool {
        self.state.isolation.in_force().is_enabled
    }

    /// The state of the service's own circuit breaker, as the next call will find it. `None`: no breaker is in force at
    /// this level.
    pub fn breaker_state(&self) -> Option<State> {
        self.state.isolation.breaker_state(Tokio.now())
    }

    /// The states of all circuit breakers in force: first the service's own, then those that pools and methods have to
    /// themselves. Empty: no breaker is in force at this level.
    pub fn breaker_states(&self) -> Vec<(Part, State)> {
        self.state.isolation.breaker_states(Tokio.now())
    }

    /// Where the circuit breaker stands that a call of a method meets, in the pool that it names, and why: what there is to
    /// say of an [`Error::Open`] beyond what it says itself, which is kept small for calls to be rejected at no cost. As text
    /// it is one line, which `cofferdam explain --receipt` takes. `None`: no breaker is in force at this level.
    pub fn breaker_receipt(&self, method: &str, pool: Option<&str>) -> Option<BreakerReceipt> {
        self.state.isolation.breaker_receipt(method, pool, Tokio.now())
    }

    /// The holds of operators that are in force over breakers of this process. Empty: none.
    pub fn holds(&self) -> Vec<Arc<Hold>> {
        self.state.isolation.holds(Tokio.now())
    }

    /// What the manager says of the service's breakers at other instances. `None`: nothing, or the policy has no use for it.
    pub fn fleet_hint(&self) -> Option<FleetHint> {
        self.state.fleet_hint(Tokio.now())
    }

    /// The adaptive limit of calls in flight, and how many are; without those of methods with a limit of their own.
    /// `None`: none is in force.
    pub fn adaptive_limit(&self) -> Option<AdaptiveLimitLoad> {
        self.state.isolation.adaptive_limit()
    }

    /// The health derived from how calls ended.
    pub fn health(&self) -> HealthStatus {
        self.state.isolation.health(Tokio.now())
    }

    /// What happened to calls of this process since the service was first named.
    pub fn counters(&self) -> CounterSnapshot {
        self.state.isolation.counters()
    }

    /// Begins to register the service with the manager, for it to be seen and given a policy.
    pub fn register(&self) -> Register {
        Register::new(Arc::clone(self.client.shared()), self.name())
    }

    /// Tells the log, once of each method, that something which was to stand in for an answer was passed over.
    #[cold]
    pub(crate) fn passed_over(&self, method: &str, step: &'static str, why: &'static str) {
        if self.state.told_once.is_first(method, step, why) {
            tell(|| tracing::warn!(service = self.name(), method, step, why, "a fallback was passed over"));
        }
    }

    /// Tells the log once that the layer cannot see what responses say.
    #[cfg(feature = "tower")]
    #[cold]
    pub(crate) fn cannot_see(&self, response: &'static str) {
        if self.state.told_once.is_first("", "response", response) {
            tell(|| {
                tracing::warn!(
                    service = self.name(),
                    response,
                    "the tower layer cannot see what such responses say: each counts as a success; see cofferdam::layer"
                );
            });
        }
    }

    #[cfg(feature = "opentelemetry")]
    pub(crate) fn namespace(&self) -> &str {
        &self.client.shared().identity.namespace
    }

    pub(crate) fn isolation(&self) -> &cofferdam_core::isolation::Isolation {
        &self.state.isolation
    }

    /// Another service of the same process.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        self.client.service(name)
    }
}
