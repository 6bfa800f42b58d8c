//! Cofferdam from outside: real manager processes, real etcd, real grpcurl, real sockets, real faults.
//!
//! The scenarios are in `main.rs` and the files beside it, linked as one binary; this library is what they are made
//! of. Each part owns what it starts: a [`Manager`], an [`Etcd`] or an [`Upstream`] that is dropped is gone, with its
//! processes and its files, and when a test fails its processes print what they logged.
//!
//! Nothing here waits for time to pass. [`eventually`] waits for a condition, and its limit is far above what a slow
//! machine needs: it ends a test that would hang, and judges no speed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test support: a broken expectation ends the test, and says why"
)]

mod authority;
mod cli;
mod client;
mod collector;
mod curl;
mod etcd;
mod event_source;
mod fault_proxy;
mod fleet;
mod follower;
mod grpcurl;
pub mod history;
mod manager;
mod numbers;
mod ports;
mod preload;
mod process;
mod prometheus;
mod readme;
mod refusal;
mod repeat;
mod tools;
mod upstream;
mod wait;
pub mod wire;

pub use authority::{Authority, Certified};
pub use cli::{Said, cofferdam, command, run, without_settings};
pub use client::Client;
pub use collector::{Collector, attribute, hex};
pub use curl::{Answer, Curl};
pub use etcd::{Etcd, Release, Setup};
pub use event_source::{Dispatched, EventSource};
pub use fault_proxy::{Direction, Fault, FaultProxy, Party, Seen};
pub use fleet::{Instance, Tally, echo};
pub use follower::{Follower, hello};
pub use grpcurl::{Grpcurl, GrpcurlError, Script};
pub use manager::{Manager, Store};
pub use numbers::Numbers;
pub use ports::unused_address;
pub use preload::{Disk, Preload};
pub use process::{Exit, Process};
pub use prometheus::{Prometheus, promtool};
pub use readme::{Snippet, shell_snippets};
pub use refusal::Refusal;
pub use repeat::{Recovery, rounds};
pub use tools::{manager_binary, workspace_root};
pub use upstream::{Behaviour, Gate, Reply, Upstream};
pub use wait::{before_the_next_try, eventually, within};
