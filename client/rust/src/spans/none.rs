#[cfg(feature = "tower")]
use super::Attribute;
use super::{Made, TraceContext};
use crate::service::Service;
use cofferdam_core::call::{Answer, Attempt, AttemptEnd, CallOptions, Failure};
#[cfg(feature = "tower")]
use cofferdam_core::outcome::Outcome;

/// Nothing.
#[derive(Debug)]
pub(crate) struct CallSpan;

/// Nothing.
#[derive(Clone, Debug)]
pub(crate) struct SpanHandle;

/// Nothing.
#[derive(Debug)]
#[cfg(feature = "tower")]
pub(crate) struct Unended;

impl CallSpan {
    #[inline]
    pub(crate) fn none() -> Self {
        Self
    }

    #[inline]
    pub(crate) fn begin(_: &Service, _: &CallOptions<'_>, _: impl FnOnce() -> Option<TraceContext>) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn handle(&self) -> SpanHandle {
        SpanHandle
    }

    #[inline]
    pub(crate) fn attempt(&mut self, _: Attempt, _: Made) -> SpanHandle {
        SpanHandle
    }

    #[inline]
    pub(crate) fn attempt_ended(&mut self, _: u32, _: AttemptEnd) {}

    #[inline]
    pub(crate) fn end<T, E>(&mut self, _: &Result<Answer<T>, Failure<E>>) {}

    #[inline]
    #[cfg(feature = "tower")]
    pub(crate) fn unended(&mut self) -> Unended {
        Unended
    }
}

impl SpanHandle {
    #[inline]
    pub(crate) fn around<F: Future>(self, future: F) -> F {
        future
    }
}

#[cfg(feature = "tower")]
impl SpanHandle {
    #[inline]
    pub(crate) fn describe(&self, _: impl FnOnce() -> Vec<Attribute>) {}

    #[inline]
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        None
    }
}

#[cfg(feature = "tower")]
impl Unended {
    #[inline]
    pub(crate) fn describe(&self, _: impl FnOnce() -> Vec<Attribute>) {}

    #[inline]
    pub(crate) fn end(&mut self, _: Outcome) {}
}
