//! A history of what concurrent clients asked and were told, and the check that a correct system could have told it.
//!
//! An acknowledged write carries the revision that it made, and the store itself can tell afterwards what it held at each
//! revision: its watch from the first one is the [`Witness`]. So there is nothing to search for. Each answer is put at its
//! revision, and one pass over them says whether it could be there; the whole check is linear but for sorting. That is
//! what etcd's own robustness tests do with the log of the server.
//!
//! - A [`Recorder`] gives out the time and takes in each [`Operation`]. Its time is a count of what happened in this
//!   process, so two operations overlap or one is before the other, with nothing between them lost to a clock.
//! - Each write sets fields of its own to [`Stamp`]s that no other write has. So each change in the witness says by itself
//!   which write it is, also where its caller was told nothing.
//! - [`check`](check()) says what is wrong, by name: [`Violation`].
//! - Watches and followers are apart: [`Sighting`]s of a store's watch are held to etcd's promises about watches by
//!   [`check_watch`], and what an SDK has put in force to [`check_follower`].

mod check;
mod fields;
mod followed;
mod judge;
mod log;
mod recorder;
#[cfg(test)]
mod tests;
mod violation;
mod watched;
mod witness;

pub use check::{Tally, check};
pub use fields::{SLOTS, patch, paths, value_of};
pub use followed::check_follower;
pub use log::{extend_by_embedded, log_of_etcd};
pub use recorder::Recorder;
pub use violation::Violation;
pub use watched::{Sighting, WatchBreach, check_watch};
pub use witness::{Change, LogEntry, Witness};

use std::collections::BTreeMap;

/// Where in the history of a store: epoch and revision.
pub type Position = (u64, u64);

/// A moment: how many things had been noted before it.
pub type Moment = u64;

/// What one write puts into one field, and no other write into any.
pub type Stamp = u64;

/// The fields of a service that writes here are about, by their number, and what they hold. Without the unset ones.
pub type Value = BTreeMap<u8, Stamp>;

/// One call of one client, from its first attempt to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who made it. A client does one thing after the other.
    pub client: usize,
    /// The manager that answered, or was asked last. What is read comes from its memory.
    pub manager: usize,
    /// The service.
    pub service: String,
    /// Just before the first attempt.
    pub invoked: Moment,
    /// Just after the answer; for an unknown outcome, just after it was given up.
    pub returned: Moment,
    /// What was asked for.
    pub action: Action,
    /// What was said.
    pub outcome: Outcome,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What the service is now.
    Read,
    /// These fields are to be changed.
    Write {
        /// The fields, with their new stamps.
        patch: Value,
        /// The only revision on which it may be done. `None`: any.
        expected: Option<Position>,
        /// The name under which it was repeated until an answer came. Empty: it was asked once.
        request_id: String,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service was this at that revision; for a write, just after it.
    Done {
        /// The revision.
        at: Position,
        /// All of its fields.
        value: Value,
    },
    /// It was not done, because the service was not at the expected revision.
    Mismatch {
        /// Where it was instead.
        current: Position,
    },
    /// It was not done, for another reason.
    Refused,
    /// It may have been done, or may not.
    Unknown,
}

impl Operation {
    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        matches!(self.action, Action::Write { .. })
    }

    /// Where its answer puts it.
    fn position(&self) -> Option<Position> {
        match self.outcome {
            Outcome::Done { at, .. } => Some(at),
            Outcome::Mismatch { .. } | Outcome::Refused | Outcome::Unknown => None,
        }
    }
}
