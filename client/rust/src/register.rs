//! Making a service known to the manager.

use crate::client::Shared;
use crate::runtime::random_part;
use crate::transport::Manager;
use cofferdam_core::level::Level;
use cofferdam_core::policy::{Policy, Violation};
use cofferdam_core::revision::Revision;
use rand::seq::SliceRandom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long a registration may take, with every attempt.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two attempts, at most.
const PAUSE: Duration = Duration::from_millis(500);

/// A registration that has not been sent; made by [`Service::register`](crate::Service::register).
///
/// Whoever calls a service may register it, and so may the service itself. A repeated registration replaces what is
/// known of the service; a policy or level that an operator has set since stays where this one names none.
#[derive(Clone, Debug)]
#[must_use = "nothing is registered before `send`"]
pub struct Register {
    shared: Arc<Shared>,
    registration: Registration,
    limit: Duration,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// The instance, for the service's history.
    pub(crate) actor: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) endpoints: Vec<String>,
    pub(crate) dependencies: Vec<(String, Criticality)>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) level: Option<Level>,
    pub(crate) policy: Option<Policy>,
    pub(crate) request_id: String,
}

/// What a missing dependency means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Criticality {
    /// The service does not work without it.
    Critical,
    /// The service works on, with less.
    Optional,
}

/// The manager knows the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registered {
    /// The service's revision.
    pub revision: Revision,
    /// Whether the manager did not know it before.
    pub is_new: bool,
}

/// Why a service was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The SDK was started without a manager, or with a setting that it cannot use.
    #[error("there is no manager to register with")]
    NoManager,
    /// The manager could not be reached, or could not store the registration. It may have been stored all the same if
    /// only the answer was lost; sending it again does no harm.
    #[error("the manager is out of reach: {0}")]
    Unavailable(String),
    /// The manager takes no such registration.
    #[error("invalid registration: {message}")]
    Invalid {
        /// Why, for people.
        message: String,
        /// Every field at fault, by its path in the contract's `RegisterServiceRequest`.
        violations: Vec<Violation>,
    },
    /// The manager refused for another reason.
    #[error("registration refused ({code}): {message}")]
    Refused {
        /// The gRPC status code's name.
        code: String,
        /// Why, for people.
        message: String,
    },
}

impl Register {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let registration = Registration {
            actor: shared.identity.instance_id.clone(),
            namespace: shared.identity.namespace.clone(),
            name: name.to_owned(),
            version: String::new(),
            description: String::new(),
            endpoints: Vec::new(),
            dependencies: Vec::new(),
            labels: Vec::new(),
            level: None,
            policy: None,
            request_id: String::new(),
        };
        Self { shared, registration, limit: DEFAULT_LIMIT }
    }

    /// Where the service listens, for example `127.0.0.1:50051`. At most 16.
    pub fn endpoint(mut self, address: impl Into<String>) -> Self {
        self.registration.endpoints.push(address.into());
        self
    }

    /// The version of the contract that it offers, for people. At most 64 bytes.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.registration.version = version.into();
        self
    }

    /// What it is for, for people. At most 1024 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.registration.description = description.into();
        self
    }

    /// A service that it needs itself. At most 64.
    pub fn depends_on(mut self, service: impl Into<String>, criticality: Criticality) -> Self {
        self.registration.dependencies.push((service.into(), criticality));
        self
    }

    /// A label for operators. At most 16, with keys and values of at most 64 bytes.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.registration.labels.push((key.into(), value.into()));
        self
    }

    /// The level. Default: the policy's; with no policy either, the level in force, and basic for a new service.
    pub fn level(mut self, level: Level) -> Self {
        self.registration.level = Some(level);
        self
    }

    /// The policy. Default: the policy in force, and the manager's defaults for a new service.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.registration.policy = Some(policy);
        self
    }

    /// How long to try. Default 10 s.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Registers the service; tries again while the manager is out of reach. All attempts are one registration to the
    /// manager, so it is made once.
    ///
    /// Calls of the service neither need nor await it.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]; [`RegisterError::Unavailable`] only after the whole [`limit`](Self::limit).
    pub async fn send(self) -> Result<Registered, RegisterError> {
        let Self { shared, mut registration, limit } = self;
        // Drawn here: a copy that is sent later is another registration.
        registration.request_id = format!("{:032x}", rand::random::<u128>());
        if shared.managers.is_empty() {
            return Err(RegisterError::NoManager);
        }
        let no_runtime = || RegisterError::Unavailable("no runtime, and no thread for one".to_owned());
        let runtime = crate::runtime::handle().ok_or_else(no_runtime)?;
        // The connection needs a tokio runtime, which the caller may not be on.
        let sending = runtime.spawn(async move { register(&shared.managers, &registration, limit).await });
        let ended = AbortOnDropHandle::new(sending).await;
        ended.unwrap_or_else(|error| Err(RegisterError::Unavailable(error.to_string())))
    }
}

/// Sends a registration until it is settled, or until the time is over: to any of the managers, and at once to the others
/// where that one is out of reach.
async fn register(
    managers: &[Manager],
    registration: &Registration,
    limit: Duration,
) -> Result<Registered, RegisterError> {
    let mut last = "no answer in time".to_owned();
    let mut order: Vec<_> = managers.iter().collect();
    let share = limit / u32::try_from(order.len()).unwrap_or(u32::MAX).max(1);
    let attempts = async {
        loop {
            order.shuffle(&mut rand::rng());
            for manager in &order {
                match timeout(share, manager.register(registration)).await {
                    Ok(Err(RegisterError::Unavailable(reason))) => last = reason,
                    Ok(settled) => return settled,
                    // It may only be slow, and the others have a share of the time as well.
                    Err(_) => {}
                }
            }
            sleep(random_part(PAUSE)).await;
        }
    };
    match timeout(limit, attempts).await {
        Ok(settled) => settled,
        Err(_) => Err(RegisterError::Unavailable(last)),
    }
}
