//! Where the engine takes its atomics and locks from.
//!
//! They come from the standard library, unless a model checker is to try the orders in which threads may run: loom
//! (every order that the memory model allows, for small cases) under `--cfg loom`, shuttle (many random orders of larger
//! cases) under `--cfg shuttle`. Both bring types of the same names, which work within their own runs alone. So nothing
//! else in the engine may name `std::sync::atomic`; `tests/tidy.rs` checks that.
//!
//! [`Arc`](std::sync::Arc) is the standard library's everywhere: a method of it needs that, and it orders nothing that
//! the engine relies on.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
