//! What a protected call costs.
//!
//! Three programs measure the same [`cases`]:
//!
//! - `times`: nanoseconds, ours beside its peers', interleaved in one run ([`harness`]); it writes the tables of
//!   docs/performance.md. Times depend on the machine and its mood, so nothing asserts them.
//! - `counts`: allocations of each case, and the memory of what stays; `times` takes them into its tables.
//! - `instructions`: instructions of our own hot paths, under callgrind. They do not depend on the machine, so CI holds
//!   them to the bounds in `instructions.toml`.
//!
//! Apart from these, `fleet` measures the manager: what a change of policy costs it, and how soon a fleet has it.

pub mod bounds;
pub mod cases;
pub mod conditions;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod harness;
#[cfg(feature = "peers")]
pub mod memory;
pub mod profile;
pub mod report;
