/// A limit of the calls in flight that follows what the service can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveLimitPolicy {
    /// The algorithm. Default off.
    pub kind: AdaptiveLimitKind,
    /// Lowest limit, at least 1. Default 1, as failsafe-go.
    pub min: u32,
    /// Limit until something was learned, from `min` to `max`. Default 20, as Netflix's concurrency-limits.
    pub initial: u32,
    /// Highest limit, at most 100000. Default 200, as Netflix's concurrency-limits.
    pub max: u32,
}

/// The algorithm of an adaptive limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AdaptiveLimitKind {
    /// No limit.
    #[default]
    Off,
    /// Shrinks as latency leaves its long-term average.
    Gradient2,
    /// Grows by one, shrinks by a factor on failure.
    Aimd,
}

impl Default for AdaptiveLimitPolicy {
    fn default() -> Self {
        Self { kind: AdaptiveLimitKind::Off, min: 1, initial: 20, max: 200 }
    }
}
