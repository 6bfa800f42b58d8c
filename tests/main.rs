//! The black-box tests, as one binary: a file for each kind, named after what it proves.
//!
//! A test starts what it needs with the [library](cofferdam_tests) and shares nothing with the others, so any of them
//! runs alone: `cargo test -p cofferdam-tests --test main sync_`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    clippy::print_stderr,
    reason = "tests: a broken expectation ends the test, and says why; whole policies live in their futures; chaos says what it was"
)]

mod api_bad_input;
mod api_grpcurl;
mod api_policy;
mod api_seed_002;
mod api_seed_004;
mod breaker_modes;
mod chaos;
mod chaos_writes;
mod cli;
mod dependencies;
mod engine_seeds;
mod etcd_faults;
mod events;
mod execute;
mod faults;
mod fleet_hints;
mod health;
mod holds;
mod hostile;
mod http;
mod lifecycle;
mod limits;
mod logs;
mod managers;
mod metrics;
mod revisions;
mod sandbox;
mod sdk_calls;
mod soak;
mod statistics;
mod store_damage;
mod store_durability;
mod store_epochs;
mod store_maintenance;
mod store_upgrade;
mod sync_containment;
mod sync_convergence;
mod sync_fleet;
mod sync_outage;
mod sync_policy_file;
mod sync_protocol;
mod traces;
