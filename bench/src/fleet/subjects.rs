//! Who is written to: etcd as it is, and managers.

use super::Outcome;
use super::manager::{Store, start};
use super::peers::start_etcd;
use super::process::{Process, free_port};
use super::unary::Caller;
use super::writes::{Write, fill};
use cofferdam_proto::v1;
use prost::Message;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Services that a manager is filled with: as many as it takes by default.
pub const SERVICES: u64 = 10_000;

/// Bytes of what is put into etcd as it is: about those of a service and its policy.
const PAYLOAD: usize = 200;

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// Puts a key of the writer's own.
pub struct BarePut;

impl Write for BarePut {
    const PATH: &'static str = "/etcdserverpb.KV/Put";

    fn request(&mut self, writer: usize, _: u64) -> Vec<u8> {
        PutRequest { key: format!("bare/{writer}").into_bytes(), value: vec![b'x'; PAYLOAD] }.encode_to_vec()
    }
}

#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(int64, tag = "6")]
    mod_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
    #[prost(message, optional, tag = "3")]
    delete_range: Option<DeleteRangeRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// `NOT_EQUAL` of a comparison.
const NOT_EQUAL: i32 = 3;
/// `MOD` of what is compared.
const MOD: i32 = 2;
/// How many changes of a service are kept.
const KEPT: u64 = 32;

/// Makes the transaction that a manager makes of a change: two conditions, the service's value, the record of the change, and
/// the end of the oldest record. `run` is what no other run has.
pub struct BareTxn {
    pub run: u64,
}

impl Write for BareTxn {
    const PATH: &'static str = "/etcdserverpb.KV/Txn";

    fn request(&mut self, writer: usize, number: u64) -> Vec<u8> {
        let key = |kind: &str| format!("txn/{kind}/{writer}").into_bytes();
        let record = |number: u64| format!("txn/{}/change/{writer}/{number}", self.run).into_bytes();
        // It always holds, and is looked up like one that does not.
        let holds = |key| Compare { result: NOT_EQUAL, target: MOD, key, mod_revision: i64::MAX };
        let put = |key| RequestOp { put: Some(PutRequest { key, value: vec![b'x'; PAYLOAD] }), delete_range: None };
        let mut success = vec![put(key("service")), put(record(number))];
        if let Some(oldest) = number.checked_sub(KEPT) {
            success.push(RequestOp { put: None, delete_range: Some(DeleteRangeRequest { key: record(oldest) }) });
        }
        TxnRequest { compare: vec![holds(key("meta")), holds(key("service"))], success }.encode_to_vec()
    }
}

/// Changes the policy of a service of the writer's own. `run` is what no other run has.
pub struct PolicyWrite {
    pub run: u64,
    pub has_request_id: bool,
}

impl Write for PolicyWrite {
    const PATH: &'static str = "/cofferdam.v1.IsolationService/UpdateIsolationPolicy";

    fn request(&mut self, writer: usize, number: u64) -> Vec<u8> {
        let name = |id| if self.has_request_id { format!("{}-{writer}-{id}", self.run) } else { String::new() };
        v1::UpdateIsolationPolicyRequest {
            service: service(writer as u64),
            policy: Some(policy(self.run.wrapping_mul(1_000) + number)),
            request_id: name(number),
            ..v1::UpdateIsolationPolicyRequest::default()
        }
        .encode_to_vec()
    }
}

/// Registers one service after the other.
struct Registration {
    next: u64,
}

impl Write for Registration {
    const PATH: &'static str = "/cofferdam.v1.IsolationService/RegisterService";

    fn request(&mut self, _: usize, _: u64) -> Vec<u8> {
        let request = v1::RegisterServiceRequest {
            service: Some(v1::Service { name: service(self.next), ..v1::Service::default() }),
            policy: Some(policy(0)),
            ..v1::RegisterServiceRequest::default()
        };
        self.next += 1;
        request.encode_to_vec()
    }
}

/// The name of the service of this number.
pub fn service(number: u64) -> String {
    format!("service-{number}")
}

/// A policy that no other number below a million has.
fn policy(number: u64) -> v1::IsolationPolicy {
    let millis = number % 1_000_000 + 100;
    let (seconds, nanos) = (i64::try_from(millis / 1_000), i32::try_from(millis % 1_000 * 1_000_000));
    let call_timeout = prost_types::Duration { seconds: seconds.unwrap_or(1), nanos: nanos.unwrap_or(0) };
    let timeout = v1::TimeoutPolicy { call_timeout: Some(call_timeout), ..v1::TimeoutPolicy::default() };
    let level = v1::IsolationLevel::Full.into();
    v1::IsolationPolicy { level, timeout: Some(timeout), ..v1::IsolationPolicy::default() }
}

/// A manager on a store, which can be started again.
pub struct Manager {
    binary: PathBuf,
    pub process: Process,
    pub address: SocketAddr,
    /// Of etcd, if that is the store.
    etcd: Option<SocketAddr>,
    folder: TempDir,
}

/// What it takes to start a manager that has [`SERVICES`].
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Until it has answered a read of the last service.
    pub time: Duration,
    /// KiB of its memory then.
    pub memory: f64,
}

/// An etcd of one member; `None`: there is none on this machine.
pub fn etcd(folder: &Path) -> Outcome<Option<(Process, SocketAddr)>> {
    start_etcd(folder)
}

impl Manager {
    /// Starts one with a service for each of so many writers.
    pub fn with_services(binary: &Path, etcd: Option<SocketAddr>, services: u64) -> Outcome<Self> {
        let (folder, address) = (tempfile::tempdir()?, free_port()?);
        let process = start(binary, address, store(etcd, folder.path()))?;
        fill(Registration { next: 0 }, address, services)?;
        Ok(Self { binary: binary.to_owned(), process, address, etcd, folder })
    }

    /// Kills it, and starts it again.
    pub fn restart(&mut self) -> Outcome<Start> {
        self.process.kill()?;
        let begun = Instant::now();
        self.process = start(&self.binary, self.address, store(self.etcd, self.folder.path()))?;
        let request = v1::GetServiceIsolationInfoRequest {
            service: service(SERVICES - 1),
            ..v1::GetServiceIsolationInfoRequest::default()
        };
        let path = "/cofferdam.v1.IsolationService/GetServiceIsolationInfo";
        Caller::connect(self.address)?.call::<v1::GetServiceIsolationInfoResponse>(path, &request)?;
        Ok(Start { time: begun.elapsed(), memory: self.process.memory()? })
    }
}

fn store(etcd: Option<SocketAddr>, folder: &Path) -> Store<'_> {
    match etcd {
        Some(address) => Store::Etcd(address),
        None => Store::Embedded(folder),
    }
}
