//! What instance and manager say to each other, in the SDK's own terms.

use crate::panics::Panicked;
use cofferdam_core::adaptive_limit::Load;
use cofferdam_core::breaker::{State, Transition};
use cofferdam_core::health::HealthStatus;
use cofferdam_core::isolation::{Part, RejectedCall};
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::orders::{InvalidOrders, Orders};
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::wire::PolicyHash;
use std::sync::Arc;
use std::time::Duration;

/// A message of the manager.
#[derive(Debug)]
pub(crate) enum FromManager {
    Update(Update),
    Removal {
        service: String,
        revision: Option<Revision>,
    },
    /// All that was asked for has been sent. If the stream breaks off, come again after a random part of the time.
    Complete(Option<Duration>),
    /// The stream is alive and nothing is missing. The time is as in `Complete`.
    Bookmark(Option<Duration>),
    /// Come again on another connection, after a random part of the time.
    Reconnect {
        within: Duration,
    },
    /// The breaker of a service has opened at many instances.
    FleetHint {
        service: String,
        open_instances: u32,
        instances: u32,
        ttl: Duration,
    },
    /// A message of a later release.
    Unknown,
}

/// A policy to apply.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) service: String,
    pub(crate) revision: Option<Revision>,
    pub(crate) policy: Result<Policy, Refusal>,
    pub(crate) is_enabled: bool,
    /// Whether an operator insists on it: it is not watched.
    pub(crate) is_insisted: bool,
    /// What operators have ordered apart from it.
    pub(crate) orders: Orders,
    /// The revision of the service as of which it is handed out in the place of a policy that is contained. `None`: it is
    /// the service's own, of its own revision.
    pub(crate) as_of: Option<Revision>,
}

/// Why a policy cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// The field at fault. Empty: not one field.
    pub(crate) field_path: String,
}

impl From<InvalidOrders> for Refusal {
    fn from(InvalidOrders { path, description }: InvalidOrders) -> Self {
        Self { reason: format!("invalid orders: {path} {description}"), field_path: format!("orders.{path}") }
    }
}

impl From<Panicked> for Refusal {
    fn from(Panicked { message }: Panicked) -> Self {
        let reason = format!("this instance panicked over the policy, which is a bug of the SDK: {message}");
        Self { reason, field_path: String::new() }
    }
}

/// A message of the instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToManager {
    Hello(Hello),
    /// Follow some services, and others no more.
    Subscribe {
        services: Vec<Arc<str>>,
        gone: Vec<Arc<str>>,
    },
    /// A policy is in force.
    Applied(Applied),
    /// A policy is refused.
    Refused {
        service: Arc<str>,
        revision: Option<Revision>,
        refusal: Refusal,
        /// What is. `None`: the built-in default.
        in_force: Option<Applied>,
        /// Whether it was in force, and has been put back.
        is_contained: bool,
    },
    Report(Report),
}

impl ToManager {
    /// The revision that it is an answer to. `None`: it is none, or to one without a revision.
    pub(crate) fn revision(&self) -> Option<Revision> {
        match self {
            Self::Applied(applied) => Some(applied.revision),
            Self::Refused { revision, .. } => *revision,
            Self::Hello(_) | Self::Subscribe { .. } | Self::Report(_) => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) instance_id: String,
    pub(crate) application: String,
    pub(crate) namespace: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) services: Vec<Arc<str>>,
    pub(crate) applied: Vec<Applied>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) service: Arc<str>,
    pub(crate) revision: Revision,
    pub(crate) hash: PolicyHash,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) sequence: u64,
    pub(crate) interval: Duration,
    pub(crate) services: Vec<ServiceReport>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceReport {
    pub(crate) service: Arc<str>,
    pub(crate) counters: CounterSnapshot,
    /// How long calls and attempts took.
    pub(crate) latencies: CallLatencySnapshot,
    /// What of it happened to methods that an override is for, by its glob.
    pub(crate) methods: Vec<(Arc<str>, CounterSnapshot, CallLatencySnapshot)>,
    /// The least good of all breakers.
    pub(crate) breaker: Option<State>,
    /// Its breakers, the service's own and those of its parts, as far as they are not closed.
    pub(crate) parts: Vec<(Part, State)>,
    pub(crate) health: HealthStatus,
    /// `None`: no adaptive limit is in force.
    pub(crate) adaptive_limit: Option<Load>,
    /// The service's own breaker by its rules alone. `None`: none is in force.
    pub(crate) learned: Option<State>,
    /// Breakers over which a hold stands.
    pub(crate) held: usize,
    /// What the breaker of which part did and how long before the report, oldest first.
    pub(crate) transitions: Vec<(Part, Transition, Duration)>,
    pub(crate) dropped: u64,
    /// Calls that were turned away, and how long before the report, oldest first.
    pub(crate) rejections: Vec<(RejectedCall, Duration)>,
}
