use std::time::Duration;

/// How many calls may run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkheadPolicy {
    /// Calls at once, over all methods that no pool takes, at least 1. Default 25, as resilience4j.
    pub max_concurrent: u32,
    /// Calls that may wait for a place. Default zero.
    pub max_queue: u32,
    /// How long one may wait; it counts against the call's deadline, and is never more than half of the time that the call
    /// has left. Default zero.
    pub max_wait: Duration,
    /// Separate places for some methods. Names are unique; at most 32.
    pub pools: Vec<PoolPolicy>,
}

/// A named share of places of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPolicy {
    /// Its name: 1 to 64 letters, digits, `.`, `_` and `-`, starting with a letter.
    pub name: String,
    /// Calls at once, at least 1. Default 10.
    pub max_concurrent: u32,
    /// Calls that may wait for a place. Default zero.
    pub max_queue: u32,
    /// How long one may wait, as [`BulkheadPolicy::max_wait`]. Default zero.
    pub max_wait: Duration,
    /// Methods that run here without being told to, where `*` stands for any run of characters, and a slash at the front
    /// says nothing. Empty: only calls that name the pool.
    pub method_globs: Vec<String>,
    /// Whether its calls have a breaker of their own, by the same policy. Default false.
    pub isolate_breaker: bool,
}

impl Default for BulkheadPolicy {
    fn default() -> Self {
        Self { max_concurrent: 25, max_queue: 0, max_wait: Duration::ZERO, pools: Vec::new() }
    }
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            name: String::new(),
            max_concurrent: 10,
            max_queue: 0,
            max_wait: Duration::ZERO,
            method_globs: Vec::new(),
            isolate_breaker: false,
        }
    }
}
