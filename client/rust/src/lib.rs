//! Isolation for the calls a process makes to its dependencies: timeouts, retries with a budget, circuit breakers,
//! bulkheads and fallbacks, whose policy is pushed live by a Cofferdam manager and enforced here, in the process.
//!
//! ```no_run
//! use cofferdam::Cofferdam;
//! # async fn fetch_all() -> Result<Vec<String>, std::io::Error> { Ok(vec![]) }
//! # async fn fetch_one() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # fn respond_503(_: Option<std::time::Duration>) -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn main_of_yours() -> Result<String, Box<dyn std::error::Error>> {
//! let cd = Cofferdam::builder("checkout").manager("http://127.0.0.1:7420").start();
//! let db = cd.service("orders-db");
//! let rows = db.execute("list", || async { fetch_all().await })
//!     .fallback(|why| async move { Ok(vec![]) }).await?;
//! let row = match db.execute("get", fetch_one).await {
//!     Err(cofferdam::Error::Open { retry_after, .. }) => respond_503(retry_after)?,
//!     Err(cofferdam::Error::Inner(e)) => return Err(e.into()),
//!     Err(other) => return Err(other.into()),
//!     Ok(row) => row,
//! };
//! # Ok(row) }
//! ```
//!
//! # What to rely on
//!
//! - **Starting neither waits nor fails.** With the manager away, or with none at all, every call is protected by a
//!   built-in default ([`Builder::default_policy`]).
//! - **No call waits for the manager.** A policy is swapped in whole behind one pointer; a call that has begun ends
//!   under the policy it began with, and what a breaker has learned outlives every change of policy.
//! - **Policies do not expire.** When the manager is gone, the last ones stay in force for as long as it takes;
//!   [`Cofferdam::connection`] and [`Cofferdam::events`] say so.
//! - **So it can be across a restart**: with [`Builder::policy_dir`], a process that starts with no manager in reach begins
//!   under the policies that the one before had.
//! - **A policy that cannot be used is refused**, and the manager is told which field is at fault; the one before stays.
//! - **A policy that turns a working service's calls away is put back** ([`Builder::contain_policies`]).
//! - **Your errors stay yours**: [`Error::Inner`] holds the call's own error, of its own type.
//! - **A healthy call allocates nothing** and waits for no lock of the SDK, unless the policy keeps its answers for a
//!   cached fallback.
//!
//! # Levels
//!
//! | level | what is in force |
//! |---|---|
//! | [`None`](Level::None) | calls are counted, nothing else |
//! | [`Basic`](Level::Basic) | timeout; fallback to a static, cached or degraded answer |
//! | [`Enhanced`](Level::Enhanced) | and circuit breaker, retry with budget, fallback to an alternative service |
//! | [`Full`](Level::Full) | and bulkhead with pools, adaptive limit, rate limit, hedging, ramp-up after a breaker's close |
//!
//! A level masks a policy, it does not replace it: an operator raises or lowers it at run time and nothing learned is
//! lost. The caller's own [`fallback`](Execute::fallback) and [`timeout`](Execute::timeout) work at every level.
//!
//! # Traces
//!
//! With the feature `opentelemetry`, each call is a `tracing` span, `cofferdam.call`, and each attempt one below it: what an
//! attempt does, it does in there. Where the application's subscriber has OpenTelemetry's layer, the
//! [tower layer](layer) tells the service of the attempt in `traceparent` and `tracestate`
//! ([W3C trace context](https://www.w3.org/TR/trace-context/)), and a call whose request names another trace than the
//! current span's belongs to that. How to turn it on, and what is in the spans: `docs/telemetry.md`. Without the feature
//! there are no spans, and headers pass through as they are.
//!
//! # Runtime
//!
//! Calls run wherever they are awaited; timeouts use tokio's timer. The stream to the manager is a task on the tokio
//! runtime that [`start`](Builder::start) is called in. Without one, timers and task run on one background thread that
//! the SDK starts. The runtime of `start` needs its timer and its I/O: `enable_all`, as `#[tokio::main]` has it; without,
//! there is no stream, and [`Cofferdam::connection`] says why. Calls on a runtime without a timer are timed by the SDK's own
//! thread. A runtime that is dropped takes the stream with it, not the protection, and temporary levels still end on time; [`Cofferdam::connection`] says
//! so. A process that forks starts the SDK after the fork: threads do not come along.

mod builder;
mod classify;
mod client;
mod codec;
mod connection;
mod containment;
mod error;
mod events;
mod execute;
mod fleet_hint;
mod http_answer;
mod journal;
#[cfg(feature = "tower")]
pub mod layer;
mod levels;
#[cfg(test)]
mod log_lines;
mod panics;
mod policy_file;
mod register;
mod registry;
mod runtime;
mod service;
mod spans;
mod sync;
mod told_once;
mod transport;

pub use builder::{Builder, InvalidSetting};
pub use classify::IntoVerdict;
pub use client::Cofferdam;
pub use codec::{Codec, Json, Protobuf};
pub use connection::{Connection, ConnectionState};
pub use error::{Error, Failure, Rejection};
pub use events::{Event, Events};
pub use execute::{Alternative, Execute};
pub use fleet_hint::FleetHint;
pub use http_answer::HttpAnswer;
pub use policy_file::PolicyFile;
pub use register::{Criticality, Register, RegisterError, Registered};
pub use service::{Origin, Service};

#[doc(inline)]
pub use cofferdam_core::adaptive_limit::Load as AdaptiveLimitLoad;
#[doc(inline)]
pub use cofferdam_core::breaker::{Cause, OpenedBy, State as BreakerState};
#[doc(inline)]
pub use cofferdam_core::call::{Answer, Attempt, PassedOver, Payload, Pushback, Receipt, Source, Verdict, Why};
#[doc(inline)]
pub use cofferdam_core::health::HealthStatus;
#[doc(inline)]
pub use cofferdam_core::hold::{Forced, Hold};
#[doc(inline)]
pub use cofferdam_core::isolation::{BreakerReceipt, Part};
#[doc(inline)]
pub use cofferdam_core::level::Level;
#[doc(inline)]
pub use cofferdam_core::name::{InvalidName, Name};
#[doc(inline)]
pub use cofferdam_core::outcome::Outcome;
#[doc(inline)]
pub use cofferdam_core::policy::{self, InvalidPolicy, Policy, PolicySpec};
#[doc(inline)]
pub use cofferdam_core::revision::Revision;
#[doc(inline)]
pub use cofferdam_core::stats::CounterSnapshot;

/// The README's Rust, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The Rust of the document on traces, compiled.
#[cfg(all(doctest, feature = "opentelemetry"))]
#[doc = include_str!("../../../docs/telemetry.md")]
struct Telemetry;

/// This crate's own README's, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
