//! What HTTP's answers say of a service, by the policy's lists of statuses.

use crate::runtime::time_until;
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
    /// When the service is worth asking again, as its `retry-after` has it: in seconds, or by a date, which is read against
    /// this machine's clock. `None`: it does not say.
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
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?.trim()));
        Self { status: status.as_u16(), retry_after }
    }
}

impl<B> From<&Response<B>> for HttpAnswer {
    fn from(response: &Response<B>) -> Self {
        (response.status(), response.headers()).into()
    }
}

/// RFC 9110, section 10.2.3. A date that is over is now.
fn retry_after(text: &str) -> Option<Duration> {
    let seconds = || text.parse().ok().map(Duration::from_secs);
    seconds().or_else(|| httpdate::parse_http_date(text).ok().map(time_until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(retry_after: &str) -> Option<Duration> {
        HttpAnswer::from(&Response::builder().status(503).header(RETRY_AFTER, retry_after).body(()).unwrap())
            .retry_after
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(of(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        // As RFC 9110 has it, of the year 9999.
        assert!(of("Fri, 31 Dec 9999 23:59:59 GMT").is_some_and(|left| left > Duration::from_secs(1 << 30)));
        assert_eq!((of("soon"), of("-1"), of("")), (None, None, None));
    }
}
