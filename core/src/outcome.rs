//! What a finished attempt says about the service.

/// What a finished attempt says about the service it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service works.
    Success,
    /// The service does not work.
    Failure,
    /// Nothing: the caller cancelled, or the answer says nothing about the service's health.
    Neutral,
}
