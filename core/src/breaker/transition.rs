use crate::time::Timestamp;
use std::fmt;

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Calls go through.
    Closed,
    /// A few calls probe whether the service works again.
    HalfOpen,
    /// Calls are rejected.
    Open,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after; the same as before where a fresh round of probes began.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// Whether calls felt it. Not where a mode or a hold stands over the rules, or where a command is done at a level without
    /// breakers: it is then what would have been.
    pub is_enforced: bool,
    /// Whether it was made sooner than the policy's own numbers would have it, for a [fleet hint](crate::fleet_hint).
    pub is_hinted: bool,
}

impl Transition {
    /// The same as one that only would have been.
    pub(crate) fn unenforced(self) -> Self {
        Self { is_enforced: false, ..self }
    }
}

/// A transition without its time: small enough to be handed over in a register, with which the usual calls, that make
/// none, need no memory for it. Four bytes: with a fifth, those calls would pay for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    from: State,
    to: State,
    cause: Cause,
    manner: Manner,
}

/// Whether a transition is enforced, and whether it is hinted.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Plain,
    Unenforced,
    Hinted,
    HintedUnenforced,
}

impl From<Transition> for Move {
    fn from(transition: Transition) -> Self {
        let Transition { from, to, cause, at: _, is_enforced, is_hinted } = transition;
        let manner = match (is_enforced, is_hinted) {
            (true, false) => Manner::Plain,
            (false, false) => Manner::Unenforced,
            (true, true) => Manner::Hinted,
            (false, true) => Manner::HintedUnenforced,
        };
        Self { from, to, cause, manner }
    }
}

impl Move {
    #[inline]
    pub(super) fn at(self, at: Timestamp) -> Transition {
        let Self { from, to, cause, manner } = self;
        let is_enforced = matches!(manner, Manner::Plain | Manner::Hinted);
        let is_hinted = matches!(manner, Manner::Hinted | Manner::HintedUnenforced);
        Transition { from, to, cause, at, is_enforced, is_hinted }
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// So many failures in a row.
    ConsecutiveFailures,
    /// So many failures in the window.
    FailureCount,
    /// Such a share of failures in the window.
    FailureRate,
    /// Such a share of slow calls in the window.
    SlowCallRate,
    /// The open time is over.
    OpenElapsed,
    /// A probe failed.
    ProbeFailed,
    /// A probe succeeded slowly, where slow calls trip.
    ProbeSlow,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Probes did not come back in time.
    LeaseExpired,
    /// An operator opened it.
    Tripped,
    /// An operator closed it, by hand or with a hold.
    Reset,
}

impl State {
    /// Its name: `closed`, `half-open` or `open`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Cause {
    /// Its name, as reports carry it, for example `consecutive_failures`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureCount => "failure_count",
            Self::FailureRate => "failure_rate",
            Self::SlowCallRate => "slow_call_rate",
            Self::OpenElapsed => "open_elapsed",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeSlow => "probe_slow",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::LeaseExpired => "lease_expired",
            Self::Tripped => "tripped",
            Self::Reset => "reset",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
