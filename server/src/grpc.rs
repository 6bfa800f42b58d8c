//! The manager's gRPC face: thin adapters between the contract and the rest of the crate. Statuses are built here and
//! nowhere else.

mod decode_errors;
mod error;
mod health_service;
mod in_process;
mod isolation_service;
mod peer_service;
mod policy_sync_service;
mod requests;
mod routes;
#[cfg(test)]
pub(crate) mod testing;
mod timely;

pub(crate) use self::in_process::Refusal;
pub use self::{
    health_service::HealthApi,
    in_process::InProcess,
    isolation_service::IsolationApi,
    peer_service::PeerApi,
    policy_sync_service::{SyncApi, SyncOptions},
    requests::{Counted, RequestCount, Requests},
    routes::{Api, Routes, routes},
};
