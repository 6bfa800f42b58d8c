//! Positions in the history of the store, across its incarnations.

use std::fmt::{self, Display};

use cofferdam_proto::v1;

use crate::store::StoreRevision;

/// The position of a change: ordered by the store's incarnation first, then by the store's own revision.
///
/// A store that was restored or swapped starts counting lower; its epoch is higher, so no reader takes the past for
/// the present. The default, zero of zero, is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The store's incarnation, in milliseconds since 1970 when it began.
    pub epoch: u64,
    /// The store's revision of the change.
    pub revision: StoreRevision,
}

impl Revision {
    /// Whether a revision that a caller expects is this one. An expected epoch of zero stands for any.
    pub fn is_expected(self, expected: Self) -> bool {
        self.revision == expected.revision && (expected.epoch == 0 || expected.epoch == self.epoch)
    }
}

impl Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

impl From<Revision> for v1::Revision {
    fn from(revision: Revision) -> Self {
        Self {
            epoch: revision.epoch,
            revision: revision.revision.get(),
        }
    }
}

impl From<v1::Revision> for Revision {
    fn from(wire: v1::Revision) -> Self {
        Self {
            epoch: wire.epoch,
            revision: StoreRevision::new(wire.revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, revision: u64) -> Revision {
        Revision {
            epoch,
            revision: StoreRevision::new(revision),
        }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_the_revision() {
        assert!(at(2, 1) > at(1, 900));
        assert!(at(2, 2) > at(2, 1));
        assert!(Revision::default() < at(1, 1));
    }

    #[test]
    fn an_expected_epoch_of_zero_is_any_epoch() {
        assert!(at(7, 3).is_expected(at(0, 3)));
        assert!(at(7, 3).is_expected(at(7, 3)));
        assert!(!at(7, 3).is_expected(at(6, 3)));
        assert!(!at(7, 3).is_expected(at(0, 4)));
    }
}
