//! Positions in the history of policies.

use std::fmt;

/// The position of a policy in the history of its store. Ordered by epoch, then by revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The store's incarnation: grows when the store is created anew, restored or swapped.
    pub epoch: u64,
    /// The store revision of the last change. Grows with each, with gaps.
    pub revision: u64,
}

impl fmt::Display for Revision {
    /// `epoch.revision`; without the epoch where that is zero, which stands for any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            0 => write!(f, "{}", self.revision),
            epoch => write!(f, "{epoch}.{}", self.revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_epoch_comes_after_any_revision_of_the_old_one() {
        let old = Revision { epoch: 1, revision: u64::MAX };
        assert!(Revision { epoch: 2, revision: 0 } > old);
    }

    /// As receipts have it, and the command line, which reads it back.
    #[test]
    fn a_revision_is_told_as_it_is_typed() {
        assert_eq!(Revision { epoch: 7, revision: 18 }.to_string(), "7.18");
        assert_eq!(Revision { epoch: 0, revision: 18 }.to_string(), "18");
    }
}
