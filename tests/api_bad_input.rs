//! Bad input: the right code and reason, the path of the field at fault, and nothing changed.

mod fallbacks;
mod policies;
mod requests;
mod services;

use cofferdam_proto::v1::{
    CircuitBreakerPolicy, FallbackConfig, IsolatedService, IsolationLevel, IsolationPolicy, RegisterServiceRequest,
    RetryPolicy, Service, TimeoutPolicy,
};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Client, Manager, Refusal, Store};
use std::fmt;
use tonic::Code;

/// A manager with one service, and what that service must still be like after each bad request.
struct Bench {
    manager: Manager,
    client: Client,
    before: IsolatedService,
}

impl Bench {
    async fn new() -> Self {
        let manager = Manager::start(Store::Memory).await;
        let client = manager.client();
        let before = client.register(registration("payments", IsolationLevel::Enhanced)).await.unwrap();
        Self { manager, client, before }
    }

    /// Asserts that a request was refused for one field, and changed nothing.
    async fn refuses<T: fmt::Debug>(&self, what: &str, result: Result<T, Refusal>, field: &str) {
        self.refuses_as(what, result, field, "INVALID_FIELD").await;
    }

    async fn refuses_as<T: fmt::Debug>(&self, what: &str, result: Result<T, Refusal>, field: &str, reason: &str) {
        let refusal = result.expect_err(what);
        assert_eq!(refusal.code, Code::InvalidArgument, "{what}: {refusal:?}");
        assert_eq!(refusal.reason, reason, "{what}: {refusal:?}");
        assert_eq!(refusal.fields, [field], "{what}: {refusal:?}");
        let services = self.client.list().await.unwrap();
        assert_eq!(services, ["payments"], "{what} changed the services");
        let after = self.client.info("payments").await.unwrap().service.unwrap();
        assert_eq!(after, self.before, "{what} changed the service");
    }

    async fn refuses_policy(&self, what: &str, policy: IsolationPolicy, field: &str) {
        self.refuses(what, self.client.update_policy("payments", policy, &[]).await, field).await;
    }

    async fn refuses_fallback(&self, what: &str, fallback: FallbackConfig, field: &str) {
        self.refuses(what, self.client.update_fallback("payments", fallback).await, field).await;
    }

    async fn refuses_service(&self, what: &str, service: Service, field: &str) {
        let request = RegisterServiceRequest { service: Some(service), ..RegisterServiceRequest::default() };
        self.refuses(what, self.client.register(request).await, field).await;
    }
}

fn breaker(circuit_breaker: CircuitBreakerPolicy) -> IsolationPolicy {
    IsolationPolicy { circuit_breaker: Some(circuit_breaker), ..IsolationPolicy::default() }
}

fn retry(retry: RetryPolicy) -> IsolationPolicy {
    IsolationPolicy { retry: Some(retry), ..IsolationPolicy::default() }
}

fn timeout(call_timeout: prost_types::Duration) -> IsolationPolicy {
    let timeout = TimeoutPolicy { call_timeout: Some(call_timeout), ..TimeoutPolicy::default() };
    IsolationPolicy { timeout: Some(timeout), ..IsolationPolicy::default() }
}
