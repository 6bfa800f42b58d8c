//! Why something that was to stand in for a live answer was passed over.

use std::fmt;

/// Why a step of a policy's fallback chain, or the caller's own fallback, was passed over. That a step was asked and had no
/// answer is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PassedOver {
    /// A static or cached step: the call does not say how bytes become an answer.
    NoCodec,
    /// A cached step: the call does not say what its answer belongs to, or not by all fields that the policy names.
    NoKey,
    /// An alternative step: the call does not say how to ask another service.
    NoAlternative,
    /// A degraded step: the call does not say how to make a smaller answer.
    NoDegraded,
    /// A static or cached step: its bytes are no answer of this call.
    Unreadable,
    /// An alternative or a degraded step: as many of them run as the policy's `fallback.max_concurrent` allows.
    TooMany,
    /// It took longer than there was time for it, and was dropped; or no time was left to ask it.
    TooLate,
}

impl PassedOver {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCodec => "the call has no codec to make an answer of its bytes",
            Self::NoKey => "the call has no cache key, or not all of the policy's key fields",
            Self::NoAlternative => "the call does not say how to ask an alternative",
            Self::NoDegraded => "the call does not say how to make a degraded answer",
            Self::Unreadable => "its bytes are no answer of this call",
            Self::TooMany => "as many fallbacks were running as fallback.max_concurrent allows",
            Self::TooLate => "it took longer than the time there was for it",
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
