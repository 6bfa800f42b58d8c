//! The parts that threads share, under a model checker: each model is a few calls at once, tried in the orders in which
//! threads can run, with the values that the memory model lets them see.
//!
//! Under `--cfg loom` every order is tried that switches threads against their will no more often than a bound says
//! (two, or `LOOM_MAX_PREEMPTIONS`; most bugs need no more), and the loads of each may be as old as their ordering
//! allows. Under `--cfg shuttle` many random orders are tried, of more threads that do more. `make loom` and `make
//! shuttle` run them; CONTRIBUTING.md names the long forms.

mod breaker;
mod bulkhead;
mod counts;
mod limits;
mod orders;

#[cfg(loom)]
pub(crate) use loom::{
    sync::{Condvar, Mutex},
    thread,
};
#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex},
    thread,
};

/// A part of a model that runs on a thread of its own.
pub(crate) type Part<T> = Box<dyn FnOnce() -> T + Send>;

/// How many more threads shuttle runs of what loom runs two of.
const CROWD: usize = if cfg!(loom) { 3 } else { 4 };

/// Tries a model in every order.
#[cfg(loom)]
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(move || {
        crate::stripe::begin_process();
        model();
    });
}

/// Tries a model in many random orders: evenly spread ones, and ones that switch threads at a few chosen points.
#[cfg(shuttle)]
pub(crate) fn check(model: impl Fn() + Send + Sync + 'static) {
    let orders = if std::env::var_os("COFFERDAM_LONG").is_some() { 100_000 } else { 1_000 };
    let model = std::sync::Arc::new(model);
    let same = std::sync::Arc::clone(&model);
    shuttle::check_random(move || same(), orders);
    shuttle::check_pct(move || model(), orders, 3);
}

/// Runs all parts at once and waits for them.
pub(crate) fn race<T: Send + 'static>(parts: impl IntoIterator<Item = Part<T>>) -> Vec<T> {
    let mut parts: Vec<Part<T>> = parts.into_iter().collect();
    let own = parts.pop();
    let threads: Vec<_> = parts.into_iter().map(thread::spawn).collect();
    let own = own.map(|part| part());
    let mut results: Vec<T> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    results.extend(own);
    results
}

/// The same part on each of so many threads.
fn crowd<T: Send + 'static>(threads: usize, part: impl Fn(usize) -> T + Clone + Send + 'static) -> Vec<T> {
    race((0..threads).map(|number| {
        let part = part.clone();
        Box::new(move || part(number)) as Part<T>
    }))
}

/// What threads of a model share, some of which borrow from it. It lasts for ever, which is no more than a model does.
pub(crate) fn shared<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}
