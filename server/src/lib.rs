//! The Cofferdam manager as a library: everything the `cofferdam` binary runs, startable from a test.

pub mod activity;
pub mod clock;
pub mod config;
mod dependencies;
pub mod error;
pub mod events;
pub mod execute;
mod fanout;
pub mod grpc;
mod health;
pub mod hints;
pub mod http;
pub mod instances;
pub mod listener;
pub mod maintenance;
pub mod metrics;
mod peer;
pub mod peers;
pub mod registry;
mod server;
mod small_file;
pub mod store;
mod supervise;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod webhooks;
mod words;

pub use self::server::{Server, StartError, run};
