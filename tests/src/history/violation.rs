//! What a history can be guilty of.

use super::{Operation, Position, Value};

/// Something that no correct system would have said or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A write was acknowledged at a revision at which the store knows of no change of the service.
    LostWrite {
        /// The write.
        operation: Operation,
    },
    /// A write changed the service a second time.
    AppliedTwice {
        /// The service.
        service: String,
        /// The first time.
        first: Position,
        /// The second.
        again: Position,
    },
    /// The store changed the service by what nobody asked for, or by what nobody had asked for yet.
    Unexplained {
        /// The service.
        service: String,
        /// Where.
        at: Position,
    },
    /// A write did more, or less, than set its own fields on what was there just before it.
    LostUpdate {
        /// The write.
        operation: Operation,
        /// Where.
        at: Position,
        /// What should be there.
        expected: Value,
        /// What is.
        found: Value,
    },
    /// A write was said to be not done, and was.
    RefusedButApplied {
        /// The write.
        operation: Operation,
        /// Where.
        at: Position,
    },
    /// A write was done on another revision than the one that its caller expected.
    BrokenCondition {
        /// The write.
        operation: Operation,
        /// The revision just before it.
        before: Position,
    },
    /// What was answered for a revision is not what the store held there, or another write made it.
    WrongAnswer {
        /// The operation.
        operation: Operation,
        /// What the store held there.
        found: Option<Value>,
    },
    /// Something has an older revision than what was over before it began, or a newer one than what began after it.
    OutOfOrder {
        /// The earlier in time.
        earlier: Box<Operation>,
        /// The later.
        later: Box<Operation>,
    },
    /// A manager showed less than it had itself acknowledged before.
    StaleRead {
        /// The read.
        operation: Operation,
        /// What it had to show at least.
        floor: Position,
    },
    /// A client was shown an older revision by the manager that had shown it a newer one.
    WentBack {
        /// The read.
        operation: Operation,
        /// What the client knew.
        known: Position,
    },
    /// A write was refused for a revision at which the service was not at any moment of the call.
    UnfoundedRefusal {
        /// The write.
        operation: Operation,
    },
    /// The record of a request was not made where the request was applied, or more than once.
    MisplacedRecord {
        /// The request.
        request_id: String,
        /// Where records of it were made.
        records: Vec<Position>,
        /// Where the request was applied.
        applied: Option<Position>,
    },
    /// A follower has put something in force that is not newer than what it had.
    AppliedOlder {
        /// What it had.
        had: Position,
        /// What it put in force.
        applied: Position,
    },
    /// A follower has put something in force that the store never held.
    AppliedPhantom {
        /// What it put in force.
        applied: Position,
    },
    /// A follower never came to the newest policy.
    LeftBehind {
        /// Where it is.
        at: Option<Position>,
        /// Where it should be.
        newest: Position,
    },
}

impl Violation {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LostWrite { .. } => "lost write",
            Self::AppliedTwice { .. } => "applied twice",
            Self::Unexplained { .. } => "unexplained change",
            Self::LostUpdate { .. } => "lost update",
            Self::RefusedButApplied { .. } => "refused but applied",
            Self::BrokenCondition { .. } => "broken condition",
            Self::WrongAnswer { .. } => "wrong answer",
            Self::OutOfOrder { .. } => "out of order",
            Self::StaleRead { .. } => "stale read",
            Self::WentBack { .. } => "went back",
            Self::UnfoundedRefusal { .. } => "unfounded refusal",
            Self::MisplacedRecord { .. } => "misplaced record",
            Self::AppliedOlder { .. } => "applied older",
            Self::AppliedPhantom { .. } => "applied phantom",
            Self::LeftBehind { .. } => "left behind",
        }
    }
}
