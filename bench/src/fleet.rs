//! What a change of policy costs the manager, and how soon a fleet has it.
//!
//! A real manager runs as a child process, and this process is the fleet: thousands of connections on one thread that
//! speaks HTTP/2 by hand, so that what is measured is the manager rather than its clients. The peers do the same work
//! in the same run: a bare loop of socket writes, which nobody can be below, Redis and etcd.

pub mod args;
pub mod changes;
pub mod crowd;
pub mod floor;
pub mod http2;
pub mod manager;
pub mod operate;
pub mod page;
pub mod peers;
pub mod process;
pub mod storm;
pub mod streams;
pub mod stuck;
pub mod subjects;
pub mod tables;
pub mod unary;
pub mod writes;

/// What goes wrong ends the run.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
