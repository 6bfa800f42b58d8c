//! What a result says about the service, where the caller has not said it.

use crate::transport;
use cofferdam_core::call::{Context, Verdict};
use cofferdam_core::outcome::Outcome;
use std::any::Any;
use std::error::Error;
use std::io;

/// What a classification may come to: an [`Outcome`], or a whole [`Verdict`].
pub trait IntoVerdict {
    /// The verdict.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for Outcome {
    /// A failure is worth another attempt, and may have reached the service.
    fn into_verdict(self) -> Verdict {
        let is_retryable = self == Outcome::Failure;
        Verdict { outcome: self, is_retryable, may_have_reached: true, pushback: None }
    }
}

/// The verdict on a result of any type.
pub(crate) fn verdict<T, E: 'static>(result: Result<&T, &E>, context: Context<'_>) -> Verdict {
    match result {
        Ok(_) => Outcome::Success.into_verdict(),
        Err(error) => as_error(error).map_or_else(|| Outcome::Failure.into_verdict(), |error| on_error(error, context)),
    }
}

/// The verdict on an error, by what it or its sources say.
pub(crate) fn on_error(error: &(dyn Error + 'static), context: Context<'_>) -> Verdict {
    if is_own_rejection(error) {
        return Outcome::Neutral.into_verdict();
    }
    let spoken = transport::on_error(error, context);
    let verdict = spoken.unwrap_or_else(|| Outcome::Failure.into_verdict());
    Verdict { may_have_reached: verdict.may_have_reached && !sources(error).any(is_refused), ..verdict }
}

/// Whether a layer of ours, somewhere below, has rejected the call: that says nothing about the service.
#[cfg(feature = "tower")]
fn is_own_rejection(error: &(dyn Error + 'static)) -> bool {
    sources(error).filter_map(|source| source.downcast_ref()).any(crate::layer::LayerError::is_local)
}

#[cfg(not(feature = "tower"))]
fn is_own_rejection(_: &(dyn Error + 'static)) -> bool {
    false
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// An error and its sources, outermost first.
pub(crate) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// A value of any type as an error, where it is one of those that carry a status. The language cannot ask whether any
/// type is an error, but it can ask for these.
fn as_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let error: &dyn Any = error;
    let boxed =
        error.downcast_ref::<Box<dyn Error + Send + Sync>>().map(|error| -> &(dyn Error + 'static) { &**error });
    boxed
        .or_else(|| error.downcast_ref::<Box<dyn Error + Send>>().map(|error| -> &(dyn Error + 'static) { &**error }))
        .or_else(|| error.downcast_ref::<io::Error>().map(|error| -> &(dyn Error + 'static) { error }))
        .or_else(|| transport::as_error(error))
}

#[cfg(test)]
mod tests;
