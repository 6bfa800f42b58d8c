//! Isolation levels: which sections of a policy are in force.

use std::fmt;
use std::str::FromStr;

/// Which sections of a policy are in force. A level is a mask: changing it changes no number of the policy and resets
/// nothing that a breaker has learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Direct calls: calls are counted, nothing else happens.
    None,
    /// Timeout, and fallback to a static, cached or degraded answer.
    #[default]
    Basic,
    /// Basic, and circuit breaker, retry with budget, alternative fallback.
    Enhanced,
    /// Enhanced, and hedging, bulkhead with pools, adaptive limit, rate limit, and the circuit breaker's ramp.
    Full,
}

/// What a policy says of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LevelChoice {
    /// It follows from what the policy states, and anew with each change of it: the least level at which all of that is in
    /// force, and no less than where no level is said: the preset's, else basic.
    Auto,
    /// This one, whatever the policy states.
    Fixed(Level),
}

/// A part of a policy that a level may put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Deadlines of the call and of its attempts.
    Timeout,
    /// The fallback chain's static, cached and degraded steps.
    Fallback,
    /// The circuit breaker.
    CircuitBreaker,
    /// Retries and their budget.
    Retry,
    /// The fallback chain's alternative steps.
    AlternativeFallback,
    /// Hedging.
    Hedge,
    /// The bulkhead and its pools.
    Bulkhead,
    /// The adaptive limit.
    AdaptiveLimit,
    /// The rate limit.
    RateLimit,
    /// The circuit breaker's ramp after a close.
    RampUp,
}

impl Section {
    /// The level from which on it is in force.
    pub const fn least_level(self) -> Level {
        match self {
            Self::Timeout | Self::Fallback => Level::Basic,
            Self::CircuitBreaker | Self::Retry | Self::AlternativeFallback => Level::Enhanced,
            Self::Hedge | Self::Bulkhead | Self::AdaptiveLimit | Self::RateLimit | Self::RampUp => Level::Full,
        }
    }
}

impl Level {
    /// All levels, from the least to the most isolation.
    pub const ALL: [Self; 4] = [Self::None, Self::Basic, Self::Enhanced, Self::Full];

    /// Whether a section is in force at this level.
    pub const fn enforces(self, section: Section) -> bool {
        self as u8 >= section.least_level() as u8
    }

    /// Its name: `none`, `basic`, `enhanced` or `full`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Enhanced => "enhanced",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl LevelChoice {
    /// The level, where it is said. `None`: it follows from the policy.
    pub const fn fixed(self) -> Option<Level> {
        match self {
            Self::Auto => None,
            Self::Fixed(level) => Some(level),
        }
    }
}

impl fmt::Display for LevelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.fixed().map_or("auto", Level::name))
    }
}

impl From<Level> for LevelChoice {
    fn from(level: Level) -> Self {
        Self::Fixed(level)
    }
}

/// The text names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown isolation level {0:?}: use none, basic, enhanced or full")]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_enforces_all_of_the_level_below() {
        let sections = [
            Section::Timeout,
            Section::Fallback,
            Section::CircuitBreaker,
            Section::Retry,
            Section::AlternativeFallback,
            Section::Hedge,
            Section::Bulkhead,
            Section::AdaptiveLimit,
            Section::RateLimit,
            Section::RampUp,
        ];
        let in_force = |level: Level| sections.into_iter().filter(|section| level.enforces(*section)).count();
        assert_eq!(Level::ALL.map(in_force), [0, 2, 5, 10]);
        for pair in Level::ALL.windows(2) {
            assert!(sections.into_iter().all(|section| !pair[0].enforces(section) || pair[1].enforces(section)));
        }
    }

    #[test]
    fn names_round_trip() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert!("FULL".parse::<Level>().is_err());
    }
}
