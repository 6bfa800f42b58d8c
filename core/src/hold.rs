//! An operator's word over a breaker.
//!
//! A hold stands apart from what the breaker has learned and from the policy: it forces breakers open or closed, takes
//! them out of the way or lets them only watch, until a time or until it is released. It says who holds and why, for
//! whoever meets it: a breaker that is held open is not one whose service fails. It runs out by the time that callers
//! bring, with nobody there to end it.
//!
//! What each kind of hold does to a breaker is in the table of [`breaker`](crate::breaker#modes-and-holds).

use crate::isolation::Part;
use crate::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// The longest owner, in bytes.
pub const MAX_OWNER_BYTES: usize = 128;
/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// What a hold makes of the breakers that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forced {
    /// Open: every call is rejected.
    Open,
    /// Closed, with all that was learned forgotten at the beginning: every call is admitted, and it does not trip.
    Closed,
    /// Out of the way: every call is admitted, and what was learned before the hold is there again after it.
    Disabled,
    /// Watching: every call is admitted, and it is told what the rules would have done.
    MetricsOnly,
}

/// The breakers of a service that an operator means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// All of them, those to come included.
    All,
    /// That of one part, whether the policy gives the part one now or later.
    Part(Part),
}

/// A hold that has not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldSpec {
    /// The breakers that it is for.
    pub target: Target,
    /// What it makes of them.
    pub forced: Forced,
    /// Since when it is in force.
    pub since: Timestamp,
    /// When it runs out by itself. `None`: when it is released.
    pub until: Option<Timestamp>,
    /// Who holds, for example an operator's name. 1 to 128 bytes.
    pub owner: String,
    /// Why, for whoever meets the hold. 1 to 256 bytes.
    pub reason: String,
}

/// A checked [`HoldSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold(HoldSpec);

/// The spec is not a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHold {
    /// The owner is not 1 to [`MAX_OWNER_BYTES`] bytes without control characters.
    #[error("owner {}", self.rule())]
    Owner,
    /// The reason is not 1 to [`MAX_REASON_BYTES`] bytes without control characters.
    #[error("reason {}", self.rule())]
    Reason,
    /// It runs out before it begins.
    #[error("until {}", self.rule())]
    Until,
}

impl Hold {
    /// Checks a spec.
    ///
    /// # Errors
    ///
    /// [`InvalidHold`] names what is wrong with it.
    pub fn new(spec: HoldSpec) -> Result<Self, InvalidHold> {
        if !is_owner(&spec.owner) {
            return Err(InvalidHold::Owner);
        }
        if !is_reason(&spec.reason) {
            return Err(InvalidHold::Reason);
        }
        if spec.until.is_some_and(|until| until <= spec.since) {
            return Err(InvalidHold::Until);
        }
        Ok(Self(spec))
    }

    /// The breakers that it is for.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// What it makes of them.
    pub fn forced(&self) -> Forced {
        self.0.forced
    }

    /// Since when it is in force.
    pub fn since(&self) -> Timestamp {
        self.0.since
    }

    /// When it runs out by itself. `None`: when it is released.
    pub fn until(&self) -> Option<Timestamp> {
        self.0.until
    }

    /// Who holds.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// How long it has been in force.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.saturating_since(self.0.since)
    }

    /// Whether it has not run out.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.0.until.is_none_or(|until| now < until)
    }
}

impl InvalidHold {
    /// What the field at fault must be.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Owner => "must be 1 to 128 bytes long and hold no control characters",
            Self::Reason => "must be 1 to 256 bytes long and hold no control characters",
            Self::Until => "must be after since",
        }
    }
}

/// Whether a text can be an owner.
pub(crate) fn is_owner(text: &str) -> bool {
    is_text(text, MAX_OWNER_BYTES)
}

/// Whether a text can be a reason.
pub(crate) fn is_reason(text: &str) -> bool {
    is_text(text, MAX_REASON_BYTES)
}

fn is_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.contains(char::is_control)
}

impl Forced {
    /// Its name: `open`, `closed`, `disabled` or `metrics-only`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics-only",
        }
    }
}

impl fmt::Display for Forced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Target {
    /// Whether the breaker of a part is meant.
    pub fn covers(&self, part: &Part) -> bool {
        match self {
            Self::All => true,
            Self::Part(meant) => meant == part,
        }
    }
}

#[cfg(test)]
mod tests;
