//! What a result says about the service, where the caller has not said it.

use crate::error::{Error as CallError, Failure, NotCalled, Rejection};
use crate::transport::{self, Status};
use cofferdam_core::call::{Context, Verdict};
use cofferdam_core::outcome::Outcome;
use std::any::{Any, type_name};
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
        Verdict { outcome: self, is_retryable, may_have_reached: true, is_overload: false, pushback: None }
    }
}

/// The verdict on a result of any type.
pub(crate) fn verdict<T, E: 'static>(result: Result<&T, &E>, context: Context<'_>) -> Verdict {
    match result {
        Ok(_) => Outcome::Success.into_verdict(),
        Err(error) => {
            let context = Context { error_type: type_name::<E>(), ..context };
            let of_type = || context.policy.classification.error_type(context.error_type).unwrap_or(Outcome::Failure);
            as_error(error).map_or_else(|| of_type().into_verdict(), |error| on_error(error, context))
        }
    }
}

/// The verdict on a result whose error is one of any type, which may have others behind it.
pub(crate) fn verdict_by_source<T, E: Error + 'static>(result: Result<&T, &E>, context: Context<'_>) -> Verdict {
    verdict_by(result, |error| error, context)
}

/// The verdict on a result whose error is not one itself and holds one.
pub(crate) fn verdict_by<T, E: 'static>(
    result: Result<&T, &E>,
    held: impl Fn(&E) -> &(dyn Error + 'static),
    context: Context<'_>,
) -> Verdict {
    match result {
        Ok(_) => Outcome::Success.into_verdict(),
        Err(error) => on_error(held(error), Context { error_type: type_name::<E>(), ..context }),
    }
}

/// The verdict on an error: by the first of its sources that carries a status, and by the policy's rules for error types.
/// Those know the type that the call has, and of what lies within or behind it the types that [`named`] does: the
/// language tells no name of a type that is hidden in a box.
pub(crate) fn on_error(error: &(dyn Error + 'static), context: Context<'_>) -> Verdict {
    if is_own_rejection(error) {
        return Outcome::Neutral.into_verdict();
    }
    let spoken = sources(error).find_map(|source| transport::on_error(source, context));
    let rule_for = |name: &str| context.policy.classification.error_type(name);
    let hidden = sources(error).filter_map(named).filter_map(rule_for);
    let rule = hidden.chain(rule_for(context.error_type)).reduce(Outcome::prevailing);
    let verdict = match (spoken, rule) {
        (Some(spoken), Some(rule)) => Verdict { outcome: spoken.outcome.prevailing(rule), ..spoken },
        (Some(spoken), None) => spoken,
        (None, rule) => rule.unwrap_or(Outcome::Failure).into_verdict(),
    };
    let is_refused = sources(error).any(is_refused);
    Verdict {
        may_have_reached: verdict.may_have_reached && !is_refused,
        is_overload: verdict.is_overload || is_refused || sources(error).any(has_timed_out),
        ..verdict
    }
}

/// Whether a protected call of ours, somewhere below, was rejected: that says nothing about the service.
fn is_own_rejection(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| source.is::<NotCalled>() || is_rejected_by_layer(source))
}

#[cfg(feature = "tower")]
fn is_rejected_by_layer(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(|error: &crate::layer::LayerError| error.error().is_local())
}

#[cfg(not(feature = "tower"))]
fn is_rejected_by_layer(_: &(dyn Error + 'static)) -> bool {
    false
}

/// The name of an error's type, where it is one that the SDK knows.
fn named(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if error.is::<io::Error>() { Some(type_name::<io::Error>()) } else { transport::type_name_of(error) }
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn has_timed_out(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// An error and its sources, outermost first.
pub(crate) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| own_error(error).or_else(|| error.source()))
}

/// The own error of a protected call that brought none other. Its source is that one's source, so that chains of errors
/// are printed without saying the same twice.
fn own_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    fn own<E: Error + 'static>(error: &CallError<E>) -> Option<&(dyn Error + 'static)> {
        if let CallError::Inner(own) = error { Some(own) } else { None }
    }
    fn of<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let failed = || error.downcast_ref::<Failure<E>>().map(|failure| &failure.error);
        error.downcast_ref().or_else(failed).and_then(own::<E>)
    }
    of::<Status>(error).or_else(|| of::<io::Error>(error))
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
        .or_else(|| error.downcast_ref::<Rejection>().map(|error| -> &(dyn Error + 'static) { error }))
        .or_else(|| error.downcast_ref::<CallError<Status>>().map(|error| -> &(dyn Error + 'static) { error }))
        .or_else(|| error.downcast_ref::<CallError<io::Error>>().map(|error| -> &(dyn Error + 'static) { error }))
        .or_else(|| transport::as_error(error))
}

#[cfg(test)]
mod tests;
