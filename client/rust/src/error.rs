//! How a protected call fails.

use cofferdam_core::breaker::OpenedBy;
use cofferdam_core::call::{self, FailureCause, Receipt};
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Why a protected call brought no answer.
///
/// Either the caller's own error, untouched, or a verdict of the SDK. Never an error of the control plane: no call
/// fails because the manager is away.
///
/// The [source](std::error::Error::source) of a verdict that came without a call says so, and is how a protected call
/// around this one knows it, whatever `E` is and whatever it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The call's own error, of the last attempt; or the error of the caller's own fallback.
    Inner(E),
    /// The circuit breaker is open: the service keeps failing and is left alone, or somebody wants it left alone.
    #[non_exhaustive]
    Open {
        /// When it is worth coming again. `None`: not before somebody changes the policy, or releases the hold.
        retry_after: Option<Duration>,
        /// On whose word it is open: its own, the policy's or an operator's.
        by: OpenedBy,
    },
    /// The last attempt, or the call as a whole, took too long.
    Timeout,
    /// As many calls as may run at once are running, and no place came free in time.
    BulkheadFull,
    /// As many calls are running as the service was found to take.
    AdaptiveLimitReached,
    /// As many calls as may start have started, and the wait for a turn would have been too long.
    #[non_exhaustive]
    RateLimited {
        /// When a call could start, if no other comes before.
        retry_after: Duration,
    },
    /// Too little time was left to begin.
    DeadlineSpent,
    /// The service is switched off.
    Disabled,
}

/// A verdict of the SDK itself: an [`Error`] that is nobody else's.
pub type Rejection = Error<Infallible>;

/// What lies behind a verdict that came without a call.
#[derive(Debug)]
pub(crate) struct NotCalled;

/// What a service had to say instead of a good answer.
pub(crate) enum Bad<T, E> {
    /// An answer that is a failure.
    Answer(T),
    /// An error.
    Error(E),
}

/// A protected call that brought no answer, and how that came about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure<E> {
    /// Why.
    pub error: Error<E>,
    /// Attempts made, why a fallback was asked, and the revision of the policy that decided.
    pub receipt: Receipt,
}

impl<E> Error<E> {
    /// [`Open`](Self::Open), as a breaker says it that has opened by its own rules: for tests of what a program makes
    /// of one.
    ///
    /// ```
    /// use cofferdam::Error;
    /// use std::time::Duration;
    ///
    /// fn status(error: &Error<std::io::Error>) -> u16 {
    ///     match error {
    ///         Error::Open { .. } | Error::Disabled => 503,
    ///         Error::RateLimited { .. } | Error::BulkheadFull | Error::AdaptiveLimitReached => 429,
    ///         Error::Timeout | Error::DeadlineSpent => 504,
    ///         _ => 502,
    ///     }
    /// }
    /// assert_eq!(status(&Error::open(Some(Duration::from_secs(3)))), 503);
    /// assert_eq!(status(&Error::rate_limited(Duration::from_millis(20))), 429);
    /// ```
    pub fn open(retry_after: Option<Duration>) -> Self {
        Self::Open { retry_after, by: OpenedBy::Rules }
    }

    /// [`RateLimited`](Self::RateLimited), for tests of what a program makes of it.
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::RateLimited { retry_after }
    }

    /// The caller's own error.
    ///
    /// # Errors
    ///
    /// The [`Rejection`], where it is none.
    pub fn into_inner(self) -> Result<E, Rejection> {
        match self {
            Self::Inner(error) => Ok(error),
            Self::Open { retry_after, by } => Err(Error::Open { retry_after, by }),
            Self::Timeout => Err(Error::Timeout),
            Self::BulkheadFull => Err(Error::BulkheadFull),
            Self::AdaptiveLimitReached => Err(Error::AdaptiveLimitReached),
            Self::RateLimited { retry_after } => Err(Error::RateLimited { retry_after }),
            Self::DeadlineSpent => Err(Error::DeadlineSpent),
            Self::Disabled => Err(Error::Disabled),
        }
    }

    /// As a boxed error, for callers whose own error is one, which are not errors themselves:
    /// `call.await.map_err(Error::boxed)?`. A protected call around that one knows a rejection in such a box for ours,
    /// and neither counts it against its own service nor repeats it. For `anyhow` it takes one more step:
    ///
    /// ```
    /// async fn user(users: &cofferdam::Service) -> anyhow::Result<String> {
    ///     let call = users.execute("get", || async { anyhow::Ok("alice".to_owned()) });
    ///     Ok(call.await.map_err(|error| anyhow::Error::from_boxed(error.boxed()))?)
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let users = cofferdam::Cofferdam::builder("checkout").start().service("users");
    /// # assert_eq!(user(&users).await?, "alice");
    /// # anyhow::Ok(()) })?;
    /// # anyhow::Ok(())
    /// ```
    pub fn boxed(self) -> Box<dyn std::error::Error + Send + Sync>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.into_inner() {
            Ok(error) => error.into(),
            Err(rejection) => rejection.into(),
        }
    }

    /// Whether the service was not called at all.
    pub(crate) fn is_local(&self) -> bool {
        !matches!(self, Self::Inner(_) | Self::Timeout)
    }

    /// When the service is worth calling again, where the SDK knows: an open breaker and a rate limit say so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after, .. } => *retry_after,
            Self::RateLimited { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Rejection {
    /// The same verdict, as the error of a call.
    pub fn widen<E>(self) -> Error<E> {
        match self {
            Self::Inner(never) => match never {},
            Self::Open { retry_after, by } => Error::Open { retry_after, by },
            Self::Timeout => Error::Timeout,
            Self::BulkheadFull => Error::BulkheadFull,
            Self::AdaptiveLimitReached => Error::AdaptiveLimitReached,
            Self::RateLimited { retry_after } => Error::RateLimited { retry_after },
            Self::DeadlineSpent => Error::DeadlineSpent,
            Self::Disabled => Error::Disabled,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Open { retry_after, by } => write!(f, "{}{}", OnWhoseWord(by), Again(retry_after)),
            Self::Timeout => f.write_str("the call timed out"),
            Self::BulkheadFull => f.write_str("too many calls are running"),
            Self::AdaptiveLimitReached => f.write_str("as many calls are running as the service can take"),
            Self::RateLimited { retry_after } => {
                write!(f, "the rate limit is reached; worth trying again in {retry_after:?}")
            }
            Self::DeadlineSpent => f.write_str("too little time was left for the call"),
            Self::Disabled => f.write_str("the service is disabled"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => error.source(),
            _ if self.is_local() => Some(&NotCalled),
            _ => None,
        }
    }
}

impl fmt::Display for NotCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service was not called")
    }
}

impl std::error::Error for NotCalled {}

impl<E> From<FailureCause<E>> for Error<E> {
    fn from(cause: FailureCause<E>) -> Self {
        match cause {
            FailureCause::Inner(error) => Self::Inner(error),
            FailureCause::Open { retry_after, by } => Self::Open { retry_after, by },
            FailureCause::Timeout => Self::Timeout,
            FailureCause::BulkheadFull => Self::BulkheadFull,
            FailureCause::AdaptiveLimitReached => Self::AdaptiveLimitReached,
            FailureCause::RateLimited { retry_after } => Self::RateLimited { retry_after },
            FailureCause::DeadlineSpent => Self::DeadlineSpent,
            FailureCause::Disabled => Self::Disabled,
        }
    }
}

impl<E> From<call::Failure<E>> for Failure<E> {
    fn from(failure: call::Failure<E>) -> Self {
        Self { error: failure.cause.into(), receipt: failure.receipt }
    }
}

impl<E> From<Failure<E>> for Error<E> {
    fn from(failure: Failure<E>) -> Self {
        failure.error
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Failure<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

struct OnWhoseWord<'a>(&'a OpenedBy);

impl fmt::Display for OnWhoseWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            OpenedBy::Rules => f.write_str("the circuit breaker is open"),
            OpenedBy::Policy => f.write_str("the policy forces the circuit breaker open"),
            OpenedBy::Hold(hold) => write!(f, "{} holds the circuit breaker open ({})", hold.owner(), hold.reason()),
        }
    }
}

struct Again<'a>(&'a Option<Duration>);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(after) => write!(f, "; worth trying again in {after:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::hold::{Forced, Hold, HoldSpec, Target};
    use cofferdam_core::time::Timestamp;
    use std::error::Error as _;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    fn outer() -> Outer {
        Outer("x".parse::<i32>().unwrap_err())
    }

    #[test]
    fn the_callers_error_shows_as_it_is() {
        let error = Error::Inner(outer());
        assert_eq!(error.to_string(), "outer");
        assert!(error.source().unwrap().is::<std::num::ParseIntError>());
        assert!(error.into_inner().is_ok());
    }

    #[test]
    fn a_box_holds_the_error_itself() {
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(outer());
        assert!(Error::Inner(boxed).boxed().is::<Outer>());
        assert!(Error::<Outer>::Timeout.boxed().is::<Rejection>());
    }

    #[test]
    fn a_handler_of_grpc_answers_with_a_status() {
        use tonic::{Code, Status};
        let own = Status::from(Error::Inner(Status::not_found("no such user")));
        assert_eq!((own.code(), own.message()), (Code::NotFound, "no such user"));
        let codes = [
            (Error::<Status>::open(None), Code::Unavailable),
            (Error::Disabled, Code::Unavailable),
            (Error::Timeout, Code::DeadlineExceeded),
            (Error::DeadlineSpent, Code::DeadlineExceeded),
            (Error::BulkheadFull, Code::ResourceExhausted),
            (Error::AdaptiveLimitReached, Code::ResourceExhausted),
            (Error::RateLimited { retry_after: Duration::ZERO }, Code::ResourceExhausted),
        ];
        for (error, code) in codes {
            let words = error.to_string();
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code, words.as_str()));
            assert!(status.source().unwrap().is::<Rejection>());
        }
    }

    #[test]
    fn what_becomes_a_status_does_so_in_an_error_and_in_a_failure() {
        use tonic::{Code, Status};
        fn handler(failure: Failure<Status>) -> Result<(), Status> {
            Err(failure)?
        }
        fn of_another(error: Error<std::io::Error>) -> Result<(), Status> {
            Err(error)?
        }
        let failure = |error| Failure { error, receipt: Receipt::default() };
        let not_found = handler(failure(Error::Inner(Status::not_found("7")))).unwrap_err();
        assert_eq!((not_found.code(), not_found.message()), (Code::NotFound, "7"));
        assert_eq!(handler(failure(Error::open(None))).unwrap_err().code(), Code::Unavailable);
        let own = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(of_another(Error::Inner(own)).unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(of_another(Error::Timeout).unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[test]
    fn a_verdict_without_a_call_says_so_behind_it() {
        let is_marked = |error: &Error<Outer>| error.source().is_some_and(|source| source.is::<NotCalled>());
        assert!(is_marked(&Error::open(None)) && is_marked(&Error::Disabled) && is_marked(&Error::DeadlineSpent));
        assert!(!is_marked(&Error::Timeout) && !is_marked(&Error::Inner(outer())));
    }

    #[test]
    fn a4_verdicts_say_what_happened() {
        let retry_after = Some(Duration::from_millis(1500));
        let error: Error<Outer> = Error::Open { retry_after, by: OpenedBy::Rules };
        assert_eq!(error.to_string(), "the circuit breaker is open; worth trying again in 1.5s");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
        let rejection = error.into_inner().unwrap_err();
        assert_eq!(rejection.retry_after(), Some(Duration::from_millis(1500)));
        assert_eq!(Error::<Outer>::Timeout.to_string(), "the call timed out");
        let hold = HoldSpec {
            target: Target::All,
            forced: Forced::Open,
            since: Timestamp::ZERO,
            until: None,
            owner: "alice".to_owned(),
            reason: "the disk is being changed".to_owned(),
        };
        let by = OpenedBy::Hold(Hold::new(hold).unwrap().into());
        let error: Error<Outer> = Error::Open { retry_after: None, by };
        assert_eq!(error.to_string(), "alice holds the circuit breaker open (the disk is being changed)");
        let error: Error<Outer> = Error::Open { retry_after, by: OpenedBy::Policy };
        assert_eq!(error.to_string(), "the policy forces the circuit breaker open; worth trying again in 1.5s");
    }
}
