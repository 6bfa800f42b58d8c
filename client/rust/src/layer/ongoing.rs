use crate::runtime::Tokio;
use crate::service::Service;
use crate::spans::{Attribute, Unended};
use cofferdam_core::call::{Context, Unfinished};
use cofferdam_core::outcome::Outcome;

/// A response that has begun, and whose end will say what it says of the service; see
/// [`Inspect::follow`](super::Inspect::follow). Dropped, it says nothing, as a cancelled call.
#[derive(Debug)]
pub struct Ongoing {
    service: Service,
    /// `None`: it has ended.
    unfinished: Option<Unfinished>,
    span: Unended,
}

impl Ongoing {
    pub(super) fn new(service: Service, unfinished: Unfinished, span: Unended) -> Self {
        Self { service, unfinished: Some(unfinished), span }
    }

    /// Says more in the attempt's span, of how it ends; with the feature `opentelemetry` alone.
    pub fn describe(&self, attributes: impl FnOnce() -> Vec<Attribute>) {
        self.span.describe(attributes);
    }

    /// Says how it ended, by what `judge` makes of the policy that the call began with.
    pub fn end(mut self, judge: impl FnOnce(Context<'_>) -> Outcome) {
        self.settle(judge);
    }

    /// Whether it is a probe of a half-open breaker, which waits for it.
    pub fn is_probe(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|unfinished| unfinished.context().is_probe)
    }

    fn settle(&mut self, judge: impl FnOnce(Context<'_>) -> Outcome) {
        if let Some(unfinished) = self.unfinished.take() {
            let outcome = judge(unfinished.context());
            self.span.end(outcome);
            unfinished.end(self.service.isolation(), &Tokio, outcome);
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.settle(|_| Outcome::Neutral);
    }
}
