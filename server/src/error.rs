//! What the manager answers when it cannot do what was asked: one closed set, without a transport in it.
//!
//! Each variant is one reason of the contract's `ErrorReason` and is mapped to a status once, in `grpc/error.rs`. The
//! text of a variant is for the caller: it says what is wrong and how to mend it. What only the operator may know
//! stays in [`Error::Internal`] and goes to the log.

use std::time::Duration;

use cofferdam_core::{
    breaker::OpenedBy,
    isolation::{BreakerReceipt, Part},
    level::Level,
    name::ServiceKey,
    orders::InvalidOrders,
    policy::{InvalidPolicy, Violation},
    revision::Revision,
};

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// There is no such service.
    #[error("service {key} is not registered{}", did_you_mean(nearest))]
    ServiceNotFound {
        /// The service asked for.
        key: ServiceKey,
        /// The most similar registered names of the namespace, best first; may be empty.
        nearest: Vec<String>,
    },
    /// Fields of the request are missing, out of range or not in force; at least one.
    #[error("{}", list(violations))]
    Invalid {
        /// Each field at fault, by its path in the request.
        violations: Vec<Violation>,
    },
    /// No such instance is known to use the service.
    #[error("no instance {instance} of {key} is known{}", those("the first of those that are", instances))]
    InstanceNotFound {
        /// The service.
        key: ServiceKey,
        /// The instance asked for.
        instance: String,
        /// The first of those that use it, by name.
        instances: Vec<String>,
    },
    /// The policy has no such pool.
    #[error("the policy of {key} has no pool {pool}{}", those("it has", pools))]
    PoolNotFound {
        /// The service.
        key: ServiceKey,
        /// The pool asked for.
        pool: String,
        /// Those that it has.
        pools: Vec<String>,
    },
    /// The service is at another revision than the caller expected.
    #[error("{}", mismatch(key, *expected, *current))]
    RevisionMismatch {
        /// The service.
        key: ServiceKey,
        /// What the caller expected.
        expected: Revision,
        /// What it is; [`Revision::default`] for a service that is not registered.
        current: Revision,
    },
    /// The service never had such a revision.
    #[error(
        "service {key} never was at revision {wanted}: its changes go from {oldest} to {newest}, ListRevisions lists them"
    )]
    RevisionUnknown {
        /// The service.
        key: ServiceKey,
        /// What was asked for.
        wanted: Revision,
        /// The oldest that is kept.
        oldest: Revision,
        /// The newest.
        newest: Revision,
    },
    /// What is asked for was, or may have been, before all that is kept.
    #[error("{wanted} of service {key} is not kept any more: the oldest that is, is revision {oldest} of {time}")]
    RevisionNotKept {
        /// The service.
        key: ServiceKey,
        /// What was asked for, in words: a revision or a time.
        wanted: String,
        /// The oldest that is kept.
        oldest: Revision,
        /// When that was, in RFC 3339.
        time: String,
    },
    /// The message of the request never came. Nothing was done.
    #[error("the message of the request did not arrive within {within:?}")]
    NotArrived {
        /// How long it had.
        within: std::time::Duration,
    },
    /// Others kept changing the same things, so that no attempt found them as it had read them. Nothing was changed.
    #[error("{} by others at each of {attempts} attempts: try again", was_changed(key.as_ref()))]
    Contended {
        /// The service. `None`: one of several.
        key: Option<ServiceKey>,
        /// How often it was tried.
        attempts: u32,
    },
    /// A change of many services is still under way, and there is one at a time.
    #[error(
        "{} ordered a change of {services} services at {time}, {done} of which are done: wait for its end",
        who(actor)
    )]
    BulkChangeUnderWay {
        /// Who ordered it; empty where nobody knows.
        actor: String,
        /// When, in RFC 3339.
        time: String,
        /// How many services are done.
        done: u32,
        /// Of how many.
        services: u32,
    },
    /// The `request_id` named a different request before.
    #[error("request_id {request_id:?} was used for a different request in the last 15 minutes: choose a fresh one")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// The store cannot be reached; nothing was changed.
    #[error("the store cannot be reached, nothing was changed: {reason}")]
    StoreUnavailable {
        /// What was tried and what came back.
        reason: String,
    },
    /// The store did not confirm the write.
    #[error(
        "the store did not confirm the write, which may or may not have happened: retry with a request_id, or read before you repeat it ({reason})"
    )]
    StoreOutcomeUnknown {
        /// What was tried and what came back.
        reason: String,
    },
    /// A bound of the manager or its store is reached.
    #[error("the limit of {limit} for {quota} is reached: {remedy}")]
    QuotaExceeded {
        /// What is bounded, in one word.
        quota: &'static str,
        /// The bound.
        limit: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The store has no room. Nothing was changed.
    #[error("the store has no room, nothing was changed: {reason}")]
    StoreFull {
        /// What it said.
        reason: String,
    },
    /// Other services name this one as their alternative.
    #[error("service {key} is the alternative of {}: change their fallback first", services.join(", "))]
    ServiceInUse {
        /// The service.
        key: ServiceKey,
        /// Who names it.
        services: Vec<String>,
    },
    /// There is no such breaker to hold or to command.
    #[error("{}", no_breaker(key, *level, named.as_ref(), breakers))]
    NoBreaker {
        /// The service.
        key: ServiceKey,
        /// The level that counts now.
        level: Level,
        /// The part that was named, which has no breaker to itself. `None`: no breaker is in force at all.
        named: Option<Part>,
        /// The parts that have one; may be empty.
        breakers: Vec<String>,
    },
    /// No hold has the target.
    #[error("no hold over {key} has this target{}", held(holds))]
    HoldNotFound {
        /// The service.
        key: ServiceKey,
        /// The targets of those in force; may be empty.
        holds: Vec<String>,
    },
    /// This manager stops.
    #[error("the manager is stopping: try another one, or again in a moment")]
    ShuttingDown,
    /// A call through the manager was not made or did not succeed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A defect, or a store that holds what it must not.
    #[error("internal error: the manager's log says more")]
    Internal {
        /// For the log only.
        detail: String,
    },
}

/// Why ExecuteWithIsolation has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The service has no endpoint that the manager may dial.
    #[error("service {0} has no endpoint that the manager may dial: register one")]
    NoEndpoint(ServiceKey),
    /// The endpoint is outside the fence.
    #[error(
        "endpoint {0} may not be dialled: the manager calls loopback addresses, and neither itself nor its store; \
         protect calls to it with an SDK"
    )]
    EndpointNotAllowed(String),
    /// The breaker is open.
    #[error("{}{}", opened(key, by), retry_hint(*retry_after))]
    CircuitOpen {
        /// The service.
        key: ServiceKey,
        /// When it is worth coming again; absent where only a change of the policy, or the release of a hold, helps.
        retry_after: Option<Duration>,
        /// On whose word it is open.
        by: OpenedBy,
        /// Where the breaker stands. `None`: none is in force any more.
        receipt: Option<Box<BreakerReceipt>>,
    },
    /// The bulkhead is full.
    #[error("the bulkhead{} is full", of_pool(pool))]
    BulkheadFull {
        /// The pool; empty for the one without a name.
        pool: String,
    },
    /// The adaptive limit is reached.
    #[error("as many calls run as {0} was found to take: its adaptive limit is reached")]
    AdaptiveLimitReached(ServiceKey),
    /// The rate limit is reached.
    #[error("the rate limit of {0} is reached")]
    RateLimited(ServiceKey),
    /// The call ran out of time.
    #[error("the call ran out of time")]
    Timeout,
    /// The service is disabled.
    #[error("service {0} is disabled")]
    Disabled(ServiceKey),
    /// Request or answer is larger than the manager relays.
    #[error("{what} has more than the {limit} bytes that the manager takes")]
    PayloadTooLarge {
        /// What is too large: "the request" or "the answer".
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The service's own error.
    #[error("{message}")]
    Upstream {
        /// Its gRPC status code.
        code: i32,
        /// Its own words.
        message: String,
    },
}

impl Error {
    /// One field at fault.
    pub fn invalid(path: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid { violations: vec![Violation::invalid(path, description)] }
    }

    /// An order at fault.
    pub fn invalid_orders(invalid: InvalidOrders) -> Self {
        let InvalidOrders { path, description } = invalid;
        Self::invalid(path, description)
    }

    /// A policy at fault. `path` says where a path of the policy is in the request.
    pub fn invalid_policy(invalid: &InvalidPolicy, path: impl Fn(&str) -> String) -> Self {
        let in_request = |violation: &Violation| Violation { path: path(&violation.path), ..violation.clone() };
        Self::Invalid { violations: invalid.violations().iter().map(in_request).collect() }
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) }
}

/// A revision of zero is what a service has that is not registered.
fn mismatch(key: &ServiceKey, expected: Revision, current: Revision) -> String {
    if expected == Revision::default() {
        return format!("service {key} is registered already, at revision {current}");
    }
    if current == Revision::default() {
        return format!("service {key} is not registered, and so not at revision {expected}");
    }
    format!("service {key} is at revision {current}, not at {expected}: read it again and decide anew")
}

fn who(actor: &str) -> &str {
    if actor.is_empty() { "somebody" } else { actor }
}

fn was_changed(key: Option<&ServiceKey>) -> String {
    match key {
        Some(key) => format!("service {key} was changed"),
        None => "some of the services were changed".to_owned(),
    }
}

fn those(who: &str, names: &[String]) -> String {
    if names.is_empty() { ": there is none".to_owned() } else { format!("; {who}: {}", names.join(", ")) }
}

fn no_breaker(key: &ServiceKey, level: Level, named: Option<&Part>, breakers: &[String]) -> String {
    match named {
        None => format!("no circuit breaker of {key} is in force at level {level}: set level enhanced or full first"),
        Some(part) if breakers.is_empty() => {
            format!(
                "the {part} of {key} has no circuit breaker to itself, and no other part has: leave the target unset"
            )
        }
        Some(part) => {
            format!("the {part} of {key} has no circuit breaker to itself; those that have: {}", breakers.join(", "))
        }
    }
}

fn held(holds: &[String]) -> String {
    if holds.is_empty() { ": it is not held".to_owned() } else { format!("; held: {}", holds.join(", ")) }
}

fn opened(key: &ServiceKey, by: &OpenedBy) -> String {
    match by {
        OpenedBy::Rules => format!("the circuit breaker of {key} is open"),
        OpenedBy::Policy => format!("the policy of {key} forces its circuit breaker open"),
        OpenedBy::Hold(hold) => {
            format!("{} holds the circuit breaker of {key} open ({})", hold.owner(), hold.reason())
        }
    }
}

fn retry_hint(retry_after: Option<Duration>) -> String {
    let in_millis = |after: Duration| Duration::from_millis(after.as_millis().try_into().unwrap_or(u64::MAX));
    retry_after.map(|after| format!(", next probe in {:?}", in_millis(after))).unwrap_or_default()
}

fn of_pool(pool: &str) -> String {
    if pool.is_empty() { String::new() } else { format!("'s pool {pool:?}") }
}

fn list(violations: &[Violation]) -> String {
    // What is wrong with a request as a whole has no path to begin with.
    let said = |violation: &Violation| {
        if violation.path.is_empty() { violation.description.clone() } else { violation.to_string() }
    };
    violations.iter().map(said).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, what was told could be typed nowhere.
    #[test]
    fn revisions_are_told_as_they_are_typed() {
        let at = |epoch, revision| Revision { epoch, revision };
        let key = crate::registry::service_key("default/a").unwrap();
        let told = |expected, current| Error::RevisionMismatch { key: key.clone(), expected, current }.to_string();
        assert_eq!(
            told(at(0, 3), at(7, 26)),
            "service default/a is at revision 7.26, not at 3: read it again and decide anew"
        );
        assert_eq!(told(at(0, 0), at(7, 26)), "service default/a is registered already, at revision 7.26");
        assert_eq!(told(at(7, 3), at(0, 0)), "service default/a is not registered, and so not at revision 7.3");
    }

    #[test]
    fn what_is_absent_leaves_no_hole_in_the_words() {
        assert_eq!(Error::invalid("", "the request is noise").to_string(), "the request is noise");
        assert_eq!(Error::invalid("level", "must be set").to_string(), "level must be set");
        let full = |pool: &str| Rejection::BulkheadFull { pool: pool.to_owned() }.to_string();
        assert_eq!(full(""), "the bulkhead is full");
        assert_eq!(full("reports"), "the bulkhead's pool \"reports\" is full");
        assert_eq!(retry_hint(Some(Duration::from_nanos(1_500_000_001))), ", next probe in 1.5s");
    }
}
