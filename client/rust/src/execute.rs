//! A protected call, as the caller writes it.
//!
//! [`Execute`] is a value that becomes a future when it is awaited. What a call is given beside its operation has a
//! type of its own, so a plain call is compiled without a trace of fallbacks and codecs. The future is the engine's,
//! unboxed; its type has no name, so an `Execute` holds the function that makes it.

mod hooks;
mod operation;

#[cfg(test)]
mod tests;

pub(crate) use hooks::Plain;
pub use operation::Alternative;

use crate::classify::IntoVerdict;
use crate::codec::Codec;
use crate::error::{Error, Failure};
use crate::http_answer::HttpAnswer;
use crate::service::Service;
use cofferdam_core::call::{Answer, Attempt, CallOptions, Why};
use cofferdam_core::policy::DegradedFallback;
use hooks::{BySource, BySourceOf, Classification, Given, Hooks, HttpBy, Once, Slots};
use operation::Call;
use std::fmt;
use std::time::Duration;

/// A protected call that has not begun; made by [`Service::execute`]. Await it for the answer alone, or
/// [`answer`](Self::answer) for the answer and how it came about.
///
/// Dropping the future, once begun, cancels the call: its places are given back and the breaker learns nothing.
#[must_use = "a call begins when it is awaited"]
pub struct Execute<'a, F, H, R> {
    call: Call<'a, F, H>,
    run: fn(Call<'a, F, H>) -> R,
}

pub(crate) fn prepare<'a, F, Fut, T, E>(
    service: &'a Service,
    method: &'a str,
    attempt: F,
) -> Execute<'a, F, Plain, impl Future<Output = Result<T, Error<E>>> + Send>
where
    F: FnMut(Attempt) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: Send + 'static,
{
    let options = CallOptions { method, ..CallOptions::default() };
    ready(Call { service, options, attempt, hooks: Plain::default() })
}

fn ready<F, Fut, H, T, E>(call: Call<'_, F, H>) -> Execute<'_, F, H, impl Future<Output = Result<T, Error<E>>> + Send>
where
    F: FnMut(Attempt) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    H: Hooks<T, E>,
    T: Send,
    E: Send,
{
    Execute { call, run: Call::value }
}

impl<'a, F, H, R> Execute<'a, F, H, R> {
    /// Says that the call may safely run twice: it is then repeated even if the service may have seen it, and may be
    /// hedged, that is, run twice at the same time.
    pub fn idempotent(mut self) -> Self {
        self.call.options.is_idempotent = true;
        self
    }

    /// The caller's own limit for the whole call, at every level; the policy's is in force where it is shorter.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.call.options.timeout = Some(limit);
        self
    }

    /// The pool to run in, at level full. Default: the first pool of the policy whose globs take the method.
    pub fn pool(mut self, name: &'a str) -> Self {
        self.call.options.pool = Some(name);
        self
    }

    /// What, beside the method, an answer belongs to: everything that decides what the answer is, and whose it is.
    ///
    /// Only with it, and a [`codec`](Self::codec), are good answers kept for a policy's cached fallback. Without a key
    /// one user's answer would be another's. A method whose answer depends on nothing takes an empty key.
    pub fn cache_key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.call.options.cache_key = Some(key.as_ref());
        self
    }

    /// Fields of the request by name, for a policy that says which of them make up the key of its cached fallback
    /// (`key_fields`): it is those instead of the [`cache_key`](Self::cache_key). Without all that it names, nothing is
    /// kept of the call, and nothing kept stands in.
    ///
    /// ```no_run
    /// # type Done = Result<(), cofferdam::Error<std::io::Error>>;
    /// # async fn example(prices: cofferdam::Service, user: &str, region: &str) -> Done {
    /// let call = prices.execute("Get", || async { Ok::<f64, std::io::Error>(12.5) }).codec(cofferdam::Json);
    /// let price = call.cache_fields(&[("user", user.as_bytes()), ("region", region.as_bytes())]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cache_fields(mut self, fields: &'a [(&'a str, &'a [u8])]) -> Self {
        self.call.options.cache_fields = fields;
        self
    }

    /// Makes the call, and says who gave the answer, after how many attempts, by which revision of the policy.
    ///
    /// # Errors
    ///
    /// [`Failure`], where the service did not answer and nothing stood in.
    pub fn answer<Fut, T, E>(self) -> impl Future<Output = Result<Answer<T>, Failure<E>>> + Send
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        H: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        self.call.answer()
    }
}

#[expect(clippy::type_complexity, reason = "an alias cannot hold the unnamed future")]
impl<'a, F, L, D, A, C, K, R> Execute<'a, F, Slots<L, D, A, C, K>, R> {
    /// What to answer when neither the service nor the policy's chain could: at every level, after a failure, a
    /// timeout or a rejection of our own. Not after an error that says nothing bad of the service, such as a
    /// NOT_FOUND. An error of the fallback itself is what the caller gets.
    ///
    /// It has the time that is left of the call, and never less than the policy's `fallback.reserve`: unless set, a
    /// tenth of the call's time, 20 ms of a call of 200 ms that has timed out. Past that the call ends as if there were
    /// none, with a timeout for example: what has to be fetched from elsewhere needs a larger reserve. The receipt says so
    /// then ([`PassedOver::TooLate`](crate::PassedOver::TooLate)), and the log once of each method.
    ///
    /// As many run at once as calls do: the policy's `fallback.max_concurrent` is for the alternative and degraded steps
    /// of its chain, not for the caller's own code. One that needs a bound has it, such as a semaphore, or asks through
    /// the isolation of another service.
    pub fn fallback<Fut, T, E, G, Answered>(
        self,
        fallback: G,
    ) -> Execute<'a, F, Slots<Once<G>, D, A, C, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: FnOnce(Why) -> Answered + Send,
        Answered: Future<Output = Result<T, E>> + Send,
        Slots<Once<G>, D, A, C, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_fallback(fallback)))
    }

    /// How to make a smaller answer, where the policy's chain has a degraded step: the step says which features still
    /// work, and why. An error hands over to the next step. Without this, degraded steps are passed over. It
    /// has as much time as a [`fallback`](Self::fallback); a step that takes longer is passed over, and so is one that
    /// finds as many running as `fallback.max_concurrent` allows, 25 unless set. [`Receipt`](crate::Receipt) and log say
    /// which it was.
    pub fn degraded<Fut, T, E, G, Answered>(
        self,
        degraded: G,
    ) -> Execute<'a, F, Slots<L, Given<G>, A, C, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: FnMut(DegradedFallback, Why) -> Answered + Send,
        Answered: Future<Output = Result<T, E>> + Send,
        Slots<L, Given<G>, A, C, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_degraded(degraded)))
    }

    /// How to ask another service, where the policy's chain has an alternative step: once, through the isolation of
    /// that service. An error hands over to the next step. Without this, alternative steps are passed over.
    pub fn alternative<Fut, T, E, G, Answered>(
        self,
        alternative: G,
    ) -> Execute<'a, F, Slots<L, D, Given<G>, C, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: FnMut(Alternative) -> Answered + Send,
        Answered: Future<Output = Result<T, E>> + Send,
        Slots<L, D, Given<G>, C, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_alternative(alternative)))
    }

    /// What a result says about the service: an [`Outcome`](crate::Outcome), or a [`Verdict`](crate::Verdict) that also
    /// says whether another attempt may help.
    ///
    /// An answer that is a failure is repeated and stood in for, as an error is; it is what the caller gets where nothing
    /// better comes.
    ///
    /// Default: an answer is a success, an HTTP response of any status among them unless [`http`](Self::http) judges it. An
    /// error of a type that the policy's `classification.error_types` names is what
    /// that says. A `tonic::Status`, and a boxed error with one among its sources, is what the policy says of its code;
    /// where both speak, neutral counts before failure, and failure before success. Any other error is a failure that
    /// another attempt may mend; one of a type of your own is judged by what lies behind it with
    /// [`by_source`](Self::by_source). A call may have reached the service unless a connection error, gRPC's or one of
    /// `std::io`, says that there was none.
    pub fn classify<Fut, T, E, G, V>(
        self,
        classify: G,
    ) -> Execute<'a, F, Slots<L, D, A, C::With<Given<G>>, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: Fn(Result<&T, &E>) -> V + Send,
        V: IntoVerdict,
        C: Classification,
        Slots<L, D, A, C::With<Given<G>>, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_classify(classify)))
    }

    /// Judges an error of a type of your own by what lies behind it, as one in a box is: by the `tonic::Status`, the
    /// `std::io::Error` or the verdict of another protected call, whatever that one's error, among its
    /// [sources](std::error::Error::source). In the place of a [`classify`](Self::classify). It takes this as well
    /// where the error is an [`Error`] itself, because `call` hands on what another protected call came to: without it
    /// only one of a `tonic::Status` or a `std::io::Error` is known.
    ///
    /// Without it an error of a type that the SDK does not know is a failure, whatever it holds: the language tells
    /// whether it has sources only where that is asked for.
    ///
    /// ```
    /// #[derive(Debug, thiserror::Error)]
    /// enum Trouble {
    ///     #[error("users: {0}")]
    ///     Users(#[from] tonic::Status),
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let users = cofferdam::Cofferdam::builder("checkout").start().service("users");
    /// let call = users.execute("get", || async { Err::<(), Trouble>(tonic::Status::not_found("7").into()) });
    /// assert!(call.by_source().await.is_err());
    /// // That it has no such user is no fault of the service.
    /// assert_eq!(users.counters().attempt_failures, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn by_source<Fut, T, E>(
        self,
    ) -> Execute<'a, F, Slots<L, D, A, C::With<BySource>, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        C: Classification,
        Slots<L, D, A, C::With<BySource>, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(Slots::by_source))
    }

    /// As [`by_source`](Self::by_source), for an error that is none itself and holds one, such as `anyhow`'s: judged by
    /// what the function shows of it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let users = cofferdam::Cofferdam::builder("checkout").start().service("users");
    /// let call = users.execute("get", || async { Err::<(), anyhow::Error>(tonic::Status::not_found("7").into()) });
    /// assert!(call.by_source_of(|error| error.as_ref()).await.is_err());
    /// // That it has no such user is no fault of the service.
    /// assert_eq!(users.counters().attempt_failures, 0);
    /// # anyhow::Ok(()) })?;
    /// # anyhow::Ok(())
    /// ```
    pub fn by_source_of<Fut, T, E, G>(
        self,
        held: G,
    ) -> Execute<'a, F, Slots<L, D, A, C::With<BySourceOf<G>>, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: Fn(&E) -> &(dyn std::error::Error + 'static) + Send,
        C: Classification,
        Slots<L, D, A, C::With<BySourceOf<G>>, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.by_source_of(held)))
    }

    /// Judges an answer of HTTP by the policy's lists of statuses, `classification.http_failure_statuses` and
    /// `http_neutral_statuses`, as the tower layer does: without it, and without a [`classify`](Self::classify), an answer
    /// of status 500 is a success as any other. Of those that are failures, another attempt may mend 502, 503 and 504; the
    /// answer's `retry-after` says when. What comes in vain is the caller's answer all the same.
    ///
    /// Errors are judged as without it: by `classify` or [`by_source`](Self::by_source) where the call has one. So let a
    /// status be an answer, without reqwest's `error_for_status` for example.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # async fn get() -> Result<http::Response<String>, std::io::Error> {
    /// #     Ok(http::Response::builder().status(500).body(String::new()).expect("a response"))
    /// # }
    /// let shop = cofferdam::Cofferdam::builder("checkout").start().service("shop");
    /// // Of reqwest, hyper and whoever else has the types of the crate `http`.
    /// let call = shop.execute("list", get).http(|answer| (answer.status(), answer.headers()).into());
    /// assert_eq!(call.await?.status(), 500);
    /// assert_eq!(shop.counters().attempt_failures, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn http<Fut, T, E, G>(
        self,
        look: G,
    ) -> Execute<'a, F, Slots<L, D, A, HttpBy<G, C>, K>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: Fn(&T) -> HttpAnswer + Send,
        Slots<L, D, A, HttpBy<G, C>, K>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_http(look)))
    }

    /// How answers are kept as bytes and made from bytes. Without this, static and cached steps of the policy's chain
    /// are passed over; cached steps need a [`cache_key`](Self::cache_key) as well.
    pub fn codec<Fut, T, E, G>(
        self,
        codec: G,
    ) -> Execute<'a, F, Slots<L, D, A, C, Given<G>>, impl Future<Output = Result<T, Error<E>>> + Send>
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        G: Codec<T> + Send,
        Slots<L, D, A, C, Given<G>>: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        ready(self.call.map(|slots| slots.with_codec(codec)))
    }
}

impl<F, H, R: Future> IntoFuture for Execute<'_, F, H, R> {
    type Output = R::Output;
    type IntoFuture = R;

    fn into_future(self) -> R {
        (self.run)(self.call)
    }
}

impl<F, H, R> fmt::Debug for Execute<'_, F, H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("service", &self.call.service.name())
            .field("options", &self.call.options)
            .finish_non_exhaustive()
    }
}
