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

impl Outcome {
    /// Which of two counts where both are said of one attempt: neutral before failure before success.
    #[must_use]
    pub fn prevailing(self, other: Self) -> Self {
        match (self, other) {
            (Self::Neutral, _) | (_, Self::Neutral) => Self::Neutral,
            (Self::Failure, _) | (_, Self::Failure) => Self::Failure,
            (Self::Success, Self::Success) => Self::Success,
        }
    }
}
