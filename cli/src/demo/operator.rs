//! The operator: registers the service and sets its level through the real RPCs. The one place of the demo that knows
//! the contract's messages.

use super::commands::{SERVICE, STATIC_ANSWER};
use crate::error::Error;
use cofferdam_core::level::Level;
use cofferdam_core::revision::Revision;
use cofferdam_core::wire;
use cofferdam_proto::v1;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::Status;
use tonic::transport::Channel;

/// How long a call to the manager may take: it is in this process.
const PATIENCE: Duration = Duration::from_secs(10);

/// One attempt: far above what a healthy call takes, far below a slow one.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// The whole call, retries included.
const CALL_TIMEOUT: Duration = Duration::from_millis(600);

/// Calls that each instance may have in flight.
const MAX_CONCURRENT: u32 = 3;

/// Failures in a row that open a breaker.
const CONSECUTIVE_FAILURES: u32 = 3;

/// A client of the manager.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    client: IsolationServiceClient<Channel>,
}

impl Operator {
    /// Speaks to a manager.
    pub(crate) fn new(channel: Channel) -> Self {
        Self { client: IsolationServiceClient::new(channel) }
    }

    /// Registers the service at level none, with all that the higher levels put in force.
    ///
    /// # Errors
    ///
    /// The manager refused, or did not answer.
    pub(crate) async fn register(&self, upstream: SocketAddr, open_duration: Duration) -> Result<Revision, Error> {
        let service = v1::Service {
            name: SERVICE.to_owned(),
            version: "1.0.0".to_owned(),
            description: "the demo's flaky upstream".to_owned(),
            endpoints: vec![v1::Endpoint { address: upstream.to_string() }],
            ..Default::default()
        };
        let request = v1::RegisterServiceRequest {
            service: Some(service),
            policy: Some(policy(open_duration)),
            ..Default::default()
        };
        let mut client = self.client.clone();
        let answer = within("RegisterService", Box::pin(client.register_service(request))).await?;
        revision_of("RegisterService", answer.into_inner().service)
    }

    /// Sets the level, and returns the revision that this made, or found.
    ///
    /// # Errors
    ///
    /// The manager refused, or did not answer.
    pub(crate) async fn set_level(&self, level: Level) -> Result<Revision, Error> {
        let request = v1::SetIsolationLevelRequest {
            service: SERVICE.to_owned(),
            level: wire::level_to_wire(level).into(),
            ..Default::default()
        };
        let mut client = self.client.clone();
        let answer = within("SetIsolationLevel", Box::pin(client.set_isolation_level(request))).await?;
        revision_of("SetIsolationLevel", answer.into_inner().service)
    }
}

/// The policy of the demo. Its open time goes with the length of the script, so that a short one recovers too.
fn policy(open_duration: Duration) -> v1::IsolationPolicy {
    let steps = [
        v1::fallback_step::Strategy::Cached(v1::CachedFallback::default()),
        v1::fallback_step::Strategy::Static(v1::StaticFallback {
            payload: STATIC_ANSWER.into(),
            content_type: "application/json".to_owned(),
        }),
    ];
    v1::IsolationPolicy {
        level: v1::IsolationLevel::None.into(),
        timeout: Some(v1::TimeoutPolicy {
            call_timeout: Some(wire::duration_to_wire(CALL_TIMEOUT)),
            attempt_timeout: Some(wire::duration_to_wire(ATTEMPT_TIMEOUT)),
            ..Default::default()
        }),
        fallback: Some(v1::FallbackPolicy {
            chain: steps.into_iter().map(|strategy| v1::FallbackStep { strategy: Some(strategy) }).collect(),
            ..Default::default()
        }),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            consecutive_failures: Some(CONSECUTIVE_FAILURES),
            open_duration: Some(wire::duration_to_wire(open_duration)),
            // Longer than an attempt can take, so that a slow probe is a failed one and not a lost one.
            half_open_lease: Some(wire::duration_to_wire(2 * ATTEMPT_TIMEOUT)),
            ..Default::default()
        }),
        retry: Some(v1::RetryPolicy {
            max_attempts: Some(3),
            initial_backoff: Some(wire::duration_to_wire(Duration::from_millis(10))),
            ..Default::default()
        }),
        bulkhead: Some(v1::BulkheadPolicy { max_concurrent: Some(MAX_CONCURRENT), ..Default::default() }),
        ..Default::default()
    }
}

async fn within<T>(rpc: &'static str, call: impl Future<Output = Result<T, Status>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(Error::refused(rpc, &status)),
        Err(_) => Err(Error::NoAnswer { rpc, within: PATIENCE }),
    }
}

fn revision_of(rpc: &'static str, service: Option<v1::IsolatedService>) -> Result<Revision, Error> {
    let revision = service.and_then(|service| service.revision).ok_or(Error::IncompleteAnswer { rpc })?;
    Ok(Revision { epoch: revision.epoch, revision: revision.revision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_one_that_the_manager_takes_and_that_uses_every_level() {
        let written = policy(Duration::from_millis(200));
        let policy = wire::effective_policy(&written).unwrap();
        assert_eq!(policy.level, Level::None);
        assert_eq!(policy.breaker.open_duration, Duration::from_millis(200));
        assert_eq!(policy.fallback.steps(Level::Basic).count(), 2);
        assert!(policy.timeout.attempt_timeout < policy.breaker.half_open_lease);
    }
}
