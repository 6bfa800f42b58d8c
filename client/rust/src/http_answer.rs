//! What HTTP's answers say of a service, by the policy's lists of statuses.

use cofferdam_core::call::{Context, Pushback, Verdict};
use cofferdam_core::outcome::Outcome;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Response, StatusCode};
use std::time::Duration;

/// What an answer of an HTTP service says, for [`Execute::http`](crate::Execute::http). Made of a status, of a status and
/// headers, or of a whole response of the crate `http`; for other clients by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status, for example 503.
    pub status: u16,
    /// When the service is worth asking again, as its `retry-after` has it in seconds. `None`: it does not say, or by a
    /// date.
    pub retry_after: Option<Duration>,
}

impl HttpAnswer {
    /// Of those that are failures, another attempt may mend 502, 503 and 504.
    pub(crate) fn verdict(self, context: Context<'_>) -> Verdict {
        let Self { status, retry_after } = self;
        let outcome = context.policy.classification.http(status.into(), context.is_probe);
        Verdict {
            outcome,
            is_retryable: outcome == Outcome::Failure && matches!(status, 502..=504),
            may_have_reached: true,
            is_overload: matches!(status, 429 | 503 | 504),
            pushback: retry_after.map(Pushback::After),
        }
    }
}

impl From<u16> for HttpAnswer {
    fn from(status: u16) -> Self {
        Self { status, retry_after: None }
    }
}

impl From<StatusCode> for HttpAnswer {
    fn from(status: StatusCode) -> Self {
        status.as_u16().into()
    }
}

impl From<(StatusCode, &HeaderMap)> for HttpAnswer {
    fn from((status, headers): (StatusCode, &HeaderMap)) -> Self {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self { status: status.as_u16(), retry_after: seconds.map(Duration::from_secs) }
    }
}

impl<B> From<&Response<B>> for HttpAnswer {
    fn from(response: &Response<B>) -> Self {
        (response.status(), response.headers()).into()
    }
}
