//! The Cofferdam manager as a library: everything the `cofferdam` binary runs, startable from a test.

pub mod store;
