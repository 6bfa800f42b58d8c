//! Where the engine takes its atomics, locks and thread-locals from.
//!
//! They come from the standard library, unless a model checker is to try the orders in which threads may run: loom
//! (every order that the memory model allows, for small cases) under `--cfg loom`, shuttle (many random orders of larger
//! cases) under `--cfg shuttle`. Both bring types of the same names, which work within their own runs alone. So nothing
//! else in the engine may name `std::sync::atomic` or declare a thread-local; `tests/tidy.rs` checks that.
//!
//! [`Arc`](std::sync::Arc) is the standard library's everywhere: a method of it needs that, and it orders nothing that
//! the engine relies on.

#[cfg(loom)]
mod once;
#[cfg(loom)]
mod process;

#[cfg(loom)]
pub(crate) use self::{once::OnceLock, process::ProcessWide};
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
#[cfg(not(loom))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

/// Between a write and the reads after it, where the order of different places matters.
///
/// All of them are sequentially consistent, which says it already. Only loom takes such accesses for acquire and release.
#[inline]
pub(crate) fn sequentially_consistent() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Declares an atomic of the whole process that begins at zero; a model checker's begins anew with each of its runs.
macro_rules! process_wide {
    ($(#[$attribute:meta])* static $name:ident;) => {
        #[cfg(loom)]
        $(#[$attribute])* static $name: $crate::sync::ProcessWide = $crate::sync::ProcessWide(stringify!($name));
        #[cfg(shuttle)]
        shuttle::lazy_static! { $(#[$attribute])* static ref $name: $crate::sync::AtomicU64 = $crate::sync::AtomicU64::new(0); }
        #[cfg(not(any(loom, shuttle)))]
        $(#[$attribute])* static $name: $crate::sync::AtomicU64 = $crate::sync::AtomicU64::new(0);
    };
}

/// Declares what each thread has for itself, made without being looked for first: its beginning is a constant.
macro_rules! thread_own {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $init:expr;) => {
        #[cfg(loom)]
        loom::thread_local! { $(#[$attribute])* static $name: $type = $init; }
        #[cfg(shuttle)]
        shuttle::thread_local! { $(#[$attribute])* static $name: $type = $init; }
        #[cfg(not(any(loom, shuttle)))]
        std::thread_local! { $(#[$attribute])* static $name: $type = const { $init }; }
    };
}

pub(crate) use {process_wide, thread_own};
