//! Bounds of a policy that more than its check needs to know.

use std::time::Duration;

/// The longest duration.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);
/// The most attempts of a call, the first included.
pub const MAX_ATTEMPTS: u32 = 10;
/// The most hedges of a call: attempts beside the first.
pub const MAX_HEDGES: u32 = 4;
/// The most calls at once, and the most that may wait.
pub const MAX_CONCURRENT: u32 = 100_000;
/// The longest time that a fleet hint is for.
pub const MAX_HINT_TTL: Duration = Duration::from_secs(600);
/// The highest HTTP status.
pub const MAX_HTTP_STATUS: u32 = 599;
/// The most ranges in a list of HTTP statuses: there are no more statuses.
pub const MAX_HTTP_RANGES: usize = 500;
/// The most rules for error types.
pub const MAX_ERROR_TYPES: usize = 256;
/// The most steps of a fallback chain.
pub const MAX_STEPS: usize = 4;
/// The most features that a degraded fallback may name.
pub const MAX_FEATURES: usize = 32;
/// The most fields that make up the key of a cached fallback.
pub const MAX_KEY_FIELDS: usize = 32;
/// The most pools of a bulkhead.
pub const MAX_POOLS: usize = 32;
/// The most globs of a pool.
pub const MAX_GLOBS: usize = 32;
/// The most overrides for methods.
pub const MAX_OVERRIDES: usize = 64;
/// The highest gRPC status code; each may stand in a list once.
pub const MAX_GRPC_CODE: u32 = 16;
/// The most holds over one service: as many as it can have breakers, and one for all.
pub const MAX_HOLDS: usize = 1 + MAX_POOLS + MAX_OVERRIDES + 1;
