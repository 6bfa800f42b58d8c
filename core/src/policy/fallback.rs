use crate::level::{Level, Section};
use crate::name::Name;
use bytes::Bytes;
use std::time::Duration;

/// The chain that answers when the live call cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackPolicy {
    /// Whether the chain is used. Default true.
    pub enabled: bool,
    /// Tried in order; the first that answers wins. At most 4 steps. Default empty: the caller gets the error.
    pub chain: Vec<FallbackStep>,
    /// What the chain answers for. Default everything but the caller's own cancellation.
    pub on: Vec<FallbackTrigger>,
    /// Alternative and degraded steps at once, at least 1. Default 25. The caller's own fallback is not among them: it is
    /// the caller's to bound.
    pub max_concurrent: u32,
    /// Time of the call that is kept back for an alternative step, and the least that the caller's own code gets. It is
    /// meant for the call timeout: of a caller's shorter limit, the same share. `None`: a tenth of the call's time.
    pub reserve: Option<Duration>,
}

/// A reason for which the live call could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackTrigger {
    /// The service answered with a failure.
    Failure,
    /// The service did not answer in time.
    Timeout,
    /// The breaker is open.
    Open,
    /// The bulkhead is full.
    Bulkhead,
    /// The rate limit is reached.
    RateLimit,
}

/// One way to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackStep {
    /// A fixed answer.
    Static(StaticFallback),
    /// The last good live answer.
    Cached(CachedFallback),
    /// Another service.
    Alternative(AlternativeFallback),
    /// A smaller answer that the caller makes itself.
    Degraded(DegradedFallback),
}

/// A fixed answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticFallback {
    /// The answer's bytes; at most 64 KiB.
    pub payload: Bytes,
    /// What the bytes are. Empty: `application/octet-stream`.
    pub content_type: String,
}

/// The last good live answer for the same method and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFallback {
    /// How long an answer is fresh. Default 300 s.
    pub ttl: Duration,
    /// How much longer it may stand in after that, as `stale-if-error` of RFC 5861. Default 3600 s.
    pub stale_if_error: Duration,
    /// Answers kept, 1 to 100000. Default 1024.
    pub max_entries: u32,
    /// Largest answer kept, in bytes, 1 to 1 MiB. Default 64 KiB.
    pub max_entry_bytes: u32,
    /// All answers kept, with their keys, in bytes; from `max_entry_bytes` to 1 GiB. Default 64 MiB.
    pub max_bytes: u32,
    /// Fields of the request whose values are the key, in the order in which they make it up; at most 32, no two the
    /// same. A call that does not name them all has no key: nothing is kept of it, and nothing kept stands in. Default
    /// empty: the key that the caller gives.
    pub key_fields: Vec<String>,
}

/// Another service, asked once, through its own breaker and without retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeFallback {
    /// The service, in the same namespace.
    pub service: Name,
    /// The method asked. Empty: the method of the call.
    pub method: String,
    /// How long it may take, never more than what is left of the call. Default 1 s.
    pub timeout: Duration,
}

/// Tells the caller to do without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DegradedFallback {
    /// The features that still work.
    pub features: Vec<String>,
    /// Why, for the caller's users.
    pub reason: String,
}

impl FallbackTrigger {
    /// All triggers.
    pub const ALL: [Self; 5] = [Self::Failure, Self::Timeout, Self::Open, Self::Bulkhead, Self::RateLimit];
}

impl FallbackStep {
    /// Its name: `static`, `cached`, `alternative` or `degraded`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Cached(_) => "cached",
            Self::Alternative(_) => "alternative",
            Self::Degraded(_) => "degraded",
        }
    }

    /// Whether it is in force at a level.
    pub const fn is_in_force(&self, level: Level) -> bool {
        level.enforces(match self {
            Self::Alternative(_) => Section::AlternativeFallback,
            Self::Static(_) | Self::Cached(_) | Self::Degraded(_) => Section::Fallback,
        })
    }
}

impl FallbackPolicy {
    /// The steps that are tried at a level, in order; none where the chain is disabled.
    pub fn steps(&self, level: Level) -> impl Iterator<Item = &FallbackStep> {
        self.chain.iter().filter(move |step| self.enabled && step.is_in_force(level))
    }

    /// The cached step that is tried at a level, which says what to keep of live answers.
    pub fn cached(&self, level: Level) -> Option<&CachedFallback> {
        self.steps(level).find_map(|step| match step {
            FallbackStep::Cached(cached) => Some(cached),
            _ => None,
        })
    }
}

impl Default for FallbackPolicy {
    fn default() -> Self {
        Self { enabled: true, chain: Vec::new(), on: FallbackTrigger::ALL.to_vec(), max_concurrent: 25, reserve: None }
    }
}

impl Default for CachedFallback {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            stale_if_error: Duration::from_secs(3600),
            max_entries: 1024,
            max_entry_bytes: 64 * 1024,
            max_bytes: 64 * 1024 * 1024,
            key_fields: Vec::new(),
        }
    }
}

impl AlternativeFallback {
    /// The timeout of an alternative that names none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
}
