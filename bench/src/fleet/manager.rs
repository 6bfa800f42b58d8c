//! Our own manager, its operator and its instances.

use super::Outcome;
use super::changes::Operator;
use super::process::{Process, free_port};
use super::streams::{Meaning, Protocol};
use super::unary::Caller;
use cofferdam_proto::v1::{self, sync_request, sync_response};
use prost::Message;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The service whose policy is changed.
const SERVICE: &str = "payments";

macro_rules! method {
    ($name:literal) => {
        concat!("/cofferdam.v1.IsolationService/", $name)
    };
}

/// Where a manager keeps its services.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    Memory,
    Embedded(&'a Path),
    Etcd(SocketAddr),
}

/// Starts a manager.
pub fn start(binary: &Path, address: SocketAddr, store: Store<'_>) -> Outcome<Process> {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", &address.to_string(), "--log-level", "error"]);
    // All clients are at one address.
    command.env("COFFERDAM_LIMITS_MAX_CONNECTIONS_PER_IP", "20000");
    match store {
        Store::Memory => command.args(["--store", "memory"]),
        Store::Embedded(folder) => command.args(["--store", "embedded", "--data-dir"]).arg(folder),
        Store::Etcd(address) => command.args(["--store", "etcd", "--etcd-endpoints", &address.to_string()]),
    };
    Process::serving(&mut command, address)
}

/// Starts a manager without anything in it.
pub fn start_empty(binary: &Path) -> Outcome<(Process, SocketAddr)> {
    let address = free_port()?;
    Ok((start(binary, address, Store::Memory)?, address))
}

/// Changes the policy, and waits until so many instances have it in force.
pub struct Admin {
    caller: Caller,
    service: String,
    /// Bytes of the static answer that is part of the policy.
    payload: usize,
    /// How many have to confirm. Zero: it is not waited for.
    quorum: u32,
}

impl Admin {
    pub fn register(address: SocketAddr, payload: usize, quorum: u32) -> Outcome<Self> {
        Self::of(SERVICE, address, payload, quorum)
    }

    /// The operator of another service.
    pub fn of(service: &str, address: SocketAddr, payload: usize, quorum: u32) -> Outcome<Self> {
        let service = service.to_owned();
        let mut admin = Self { caller: Caller::connect(address)?, service, payload, quorum };
        let service = v1::Service { name: admin.service.clone(), ..v1::Service::default() };
        let policy = Some(admin.policy(0));
        let request =
            v1::RegisterServiceRequest { service: Some(service), policy, ..v1::RegisterServiceRequest::default() };
        admin.caller.call::<v1::RegisterServiceResponse>(method!("RegisterService"), &request)?;
        Ok(admin)
    }

    /// The same operator, on another connection.
    pub fn reconnect(&mut self, address: SocketAddr) -> Outcome<()> {
        self.caller = Caller::connect(address)?;
        Ok(())
    }

    /// How far the present policy has come.
    pub fn convergence(&mut self) -> Outcome<v1::ServiceConvergence> {
        let request =
            v1::GetConvergenceRequest { service: self.service.clone(), ..v1::GetConvergenceRequest::default() };
        let answer: v1::GetConvergenceResponse = self.caller.call(method!("GetConvergence"), &request)?;
        let service = answer.convergence.and_then(|convergence| convergence.services.into_iter().next());
        service.ok_or_else(|| "the manager says nothing about the service".into())
    }

    fn policy(&self, number: u32) -> v1::IsolationPolicy {
        let seconds = i64::from(1 + number % 100);
        let timeout = v1::TimeoutPolicy {
            call_timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..v1::TimeoutPolicy::default()
        };
        let payload = vec![b'x'; self.payload].into();
        let answer = v1::StaticFallback { payload, content_type: "application/octet-stream".to_owned() };
        let step = v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Static(answer)) };
        let fallback = v1::FallbackPolicy { chain: vec![step], ..v1::FallbackPolicy::default() };
        let level = v1::IsolationLevel::Full.into();
        v1::IsolationPolicy {
            level,
            timeout: Some(timeout),
            fallback: Some(fallback),
            ..v1::IsolationPolicy::default()
        }
    }
}

impl Operator for Admin {
    const CONFIRMS: bool = true;

    fn change(&mut self, number: u32) -> Outcome<()> {
        let update = v1::UpdateIsolationPolicyRequest {
            service: self.service.clone(),
            policy: Some(self.policy(number + 1)),
            ..v1::UpdateIsolationPolicyRequest::default()
        };
        let answer: v1::UpdateIsolationPolicyResponse = self.caller.call(method!("UpdateIsolationPolicy"), &update)?;
        if self.quorum == 0 {
            return Ok(());
        }
        let wait = v1::WaitForConvergenceRequest {
            service: self.service.clone(),
            revision: answer.service.and_then(|service| service.revision),
            quorum: Some(v1::wait_for_convergence_request::Quorum::Count(self.quorum)),
            ..v1::WaitForConvergenceRequest::default()
        };
        let answer: v1::WaitForConvergenceResponse = self.caller.call(method!("WaitForConvergence"), &wait)?;
        if answer.reached { Ok(()) } else { Err("the manager has not seen all acknowledgements".into()) }
    }
}

/// An instance: it follows services, and acknowledges each policy at once.
pub struct Instance {
    services: Vec<String>,
    /// Whether it reports of calls to each of them, once.
    reports: bool,
    /// Whether it acknowledges.
    pub acknowledges: bool,
    /// The last update, and the answer to it: everybody gets the same one.
    last: (Vec<u8>, Vec<u8>),
    /// Over how much time all are to come back, as the manager said last.
    pub window: Duration,
    /// How often it did.
    pub bookmarks: usize,
}

impl Instance {
    pub fn new(acknowledges: bool) -> Self {
        Self::of(vec![SERVICE.to_owned()], acknowledges)
    }

    /// One that follows others.
    pub fn of(services: Vec<String>, acknowledges: bool) -> Self {
        let last = Default::default();
        Self { services, reports: false, acknowledges, last, window: Duration::ZERO, bookmarks: 0 }
    }

    /// The same, which also reports of calls.
    pub fn reporting(services: Vec<String>) -> Self {
        Self { reports: true, ..Self::of(services, true) }
    }

    fn report(&self) -> Vec<u8> {
        let counters = v1::CallCounters { calls: 12, served_live: 10, failed: 2, attempts: 12, ..Default::default() };
        let of = |service: &String| v1::ServiceReport {
            service: service.clone(),
            counters: Some(counters),
            breaker_state: v1::BreakerState::Closed.into(),
            health_status: v1::HealthStatus::Healthy.into(),
            ..v1::ServiceReport::default()
        };
        let report = v1::SyncReport {
            sequence: 1,
            interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            services: self.services.iter().map(of).collect(),
        };
        v1::SyncRequest { message: Some(sync_request::Message::Report(report)) }.encode_to_vec()
    }
}

impl Protocol for Instance {
    const PATH: &'static str = "/cofferdam.v1.PolicySyncService/Sync";

    fn hello(&self, number: usize) -> Vec<u8> {
        let hello = v1::SyncHello {
            instance_id: format!("bench-{number}"),
            application: "bench".to_owned(),
            services: self.services.clone(),
            ..v1::SyncHello::default()
        };
        v1::SyncRequest { message: Some(sync_request::Message::Hello(hello)) }.encode_to_vec()
    }

    fn hear(&mut self, message: &[u8]) -> Meaning {
        if self.last.0 != message {
            let answer = v1::SyncResponse::decode(message).ok().and_then(|response| response.message);
            let update = match answer {
                Some(sync_response::Message::Update(update)) => update,
                Some(sync_response::Message::Complete(_)) => {
                    return Meaning::Ready(self.reports.then(|| self.report()));
                }
                Some(sync_response::Message::Bookmark(bookmark)) => {
                    let window = bookmark.reconnect_within.and_then(|within| within.try_into().ok());
                    self.window = window.unwrap_or(self.window);
                    self.bookmarks += 1;
                    return Meaning::Nothing;
                }
                _ => return Meaning::Nothing,
            };
            let v1::PolicyUpdate { service, revision, policy_hash, .. } = update;
            let ack = sync_request::Message::Ack(v1::PolicyAck { service, revision, policy_hash });
            self.last = (message.to_vec(), v1::SyncRequest { message: Some(ack) }.encode_to_vec());
        }
        Meaning::Change(self.acknowledges.then(|| self.last.1.clone()))
    }
}
