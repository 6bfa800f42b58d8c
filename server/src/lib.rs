//! The Cofferdam manager as a library: everything the `cofferdam` binary runs, startable from a test.

pub mod clock;
pub mod error;
mod fanout;
pub mod grpc;
mod health;
pub mod instances;
pub mod registry;
mod stats;
pub mod store;
#[cfg(test)]
mod testing;
