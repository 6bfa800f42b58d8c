//! The manager's gRPC face: thin adapters between the contract and the rest of the crate. Statuses are built here and
//! nowhere else.

mod error;
mod isolation_service;

pub use isolation_service::IsolationApi;
