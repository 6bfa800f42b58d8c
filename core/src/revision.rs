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
    /// `epoch:revision`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.revision)
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
}
