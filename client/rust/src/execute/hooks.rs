//! What a call may be given beside its operation: five slots, each empty or filled.

use super::operation::Alternative;
use crate::classify::{IntoVerdict, verdict, verdict_by, verdict_by_source};
use crate::codec::Codec;
use crate::http_answer::HttpAnswer;
use bytes::Bytes;
use cofferdam_core::call::{Context, Payload, Verdict, Why};
use cofferdam_core::policy::DegradedFallback;
use std::convert::Infallible;
use std::future::ready;

/// What a call was given, for answers `T` and errors `E`. Implemented by [`Slots`] where all that fill them agree on
/// the two.
pub trait Hooks<T, E>: Send {
    #[doc(hidden)]
    const HAS_ALTERNATIVE: bool;

    #[doc(hidden)]
    const HAS_DEGRADED: bool;

    #[doc(hidden)]
    const HAS_CODEC: bool;

    /// An answer that is a failure. There is none where nothing classifies answers: then this takes no room.
    #[doc(hidden)]
    type Kept: Kept<T>;

    #[doc(hidden)]
    fn fallback(&mut self, why: Why) -> impl Future<Output = Option<Result<T, E>>> + Send;

    #[doc(hidden)]
    fn degraded(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<T>> + Send;

    /// An error of `None`: there is no alternative.
    #[doc(hidden)]
    fn alternative(
        &mut self,
        target: Alternative,
    ) -> impl Future<Output = Result<T, Option<E>>> + Send + use<Self, T, E>;

    #[doc(hidden)]
    fn classify(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict;

    #[doc(hidden)]
    fn encode(&self, answer: &T) -> Option<Bytes>;

    #[doc(hidden)]
    fn decode(&self, payload: Payload<'_>) -> Option<T>;
}

/// The slots of a call: its own fallback, degraded, alternative, classification, codec.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slots<L, D, A, C, K> {
    fallback: L,
    degraded: D,
    alternative: A,
    classify: C,
    codec: K,
}

/// A call that was given nothing.
pub(crate) type Plain = Slots<Missing, Missing, Missing, Missing, Missing>;

/// An empty slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing;

/// A filled slot.
#[derive(Clone, Copy, Debug)]
pub struct Given<G>(G);

/// A slot filled with the word that errors are judged by what lies behind them.
#[derive(Clone, Copy, Debug)]
pub struct BySource;

/// The slot of the classification, for errors that are judged by the one that they hold.
#[derive(Clone, Copy, Debug)]
pub struct BySourceOf<G>(G);

/// The slot of the classification, for answers of HTTP. Errors are for what else would fill it.
#[derive(Clone, Copy, Debug)]
pub struct HttpBy<G, C> {
    look: G,
    errors: C,
}

/// A filled slot that is used once.
#[derive(Clone, Copy, Debug)]
pub struct Once<G>(Option<G>);

impl<L, D, A, C, K> Slots<L, D, A, C, K> {
    pub(super) fn with_fallback<G>(self, fallback: G) -> Slots<Once<G>, D, A, C, K> {
        let Self { fallback: _, degraded, alternative, classify, codec } = self;
        Slots { fallback: Once(Some(fallback)), degraded, alternative, classify, codec }
    }

    pub(super) fn with_degraded<G>(self, degraded: G) -> Slots<L, Given<G>, A, C, K> {
        let Self { fallback, degraded: _, alternative, classify, codec } = self;
        Slots { fallback, degraded: Given(degraded), alternative, classify, codec }
    }

    pub(super) fn with_alternative<G>(self, alternative: G) -> Slots<L, D, Given<G>, C, K> {
        let Self { fallback, degraded, alternative: _, classify, codec } = self;
        Slots { fallback, degraded, alternative: Given(alternative), classify, codec }
    }

    pub(super) fn with_classify<G>(self, classify: G) -> Slots<L, D, A, C::With<Given<G>>, K>
    where
        C: Classification,
    {
        let Self { fallback, degraded, alternative, classify: kind, codec } = self;
        Slots { fallback, degraded, alternative, classify: kind.with(Given(classify)), codec }
    }

    pub(super) fn by_source(self) -> Slots<L, D, A, C::With<BySource>, K>
    where
        C: Classification,
    {
        let Self { fallback, degraded, alternative, classify, codec } = self;
        Slots { fallback, degraded, alternative, classify: classify.with(BySource), codec }
    }

    pub(super) fn by_source_of<G>(self, held: G) -> Slots<L, D, A, C::With<BySourceOf<G>>, K>
    where
        C: Classification,
    {
        let Self { fallback, degraded, alternative, classify, codec } = self;
        Slots { fallback, degraded, alternative, classify: classify.with(BySourceOf(held)), codec }
    }

    pub(super) fn with_http<G>(self, look: G) -> Slots<L, D, A, HttpBy<G, C>, K> {
        let Self { fallback, degraded, alternative, classify: errors, codec } = self;
        Slots { fallback, degraded, alternative, classify: HttpBy { look, errors }, codec }
    }

    pub(super) fn with_codec<G>(self, codec: G) -> Slots<L, D, A, C, Given<G>> {
        let Self { fallback, degraded, alternative, classify, codec: _ } = self;
        Slots { fallback, degraded, alternative, classify, codec: Given(codec) }
    }
}

impl<T, E, L, D, A, C, K> Hooks<T, E> for Slots<L, D, A, C, K>
where
    L: FallbackSlot<T, E>,
    D: DegradedSlot<T, E>,
    A: AlternativeSlot<T, E>,
    C: ClassifySlot<T, E>,
    K: CodecSlot<T>,
    T: Send,
    E: Send,
{
    const HAS_ALTERNATIVE: bool = A::IS_GIVEN;

    const HAS_DEGRADED: bool = D::IS_GIVEN;

    const HAS_CODEC: bool = K::IS_GIVEN;

    type Kept = C::Kept;

    fn fallback(&mut self, why: Why) -> impl Future<Output = Option<Result<T, E>>> + Send {
        self.fallback.answer(why)
    }

    fn degraded(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<T>> + Send {
        self.degraded.answer(step, why)
    }

    fn alternative(
        &mut self,
        target: Alternative,
    ) -> impl Future<Output = Result<T, Option<E>>> + Send + use<T, E, L, D, A, C, K> {
        self.alternative.answer(target)
    }

    fn classify(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict {
        self.classify.verdict(result, context)
    }

    fn encode(&self, answer: &T) -> Option<Bytes> {
        self.codec.encode(answer)
    }

    fn decode(&self, payload: Payload<'_>) -> Option<T> {
        self.codec.decode(payload)
    }
}

/// Fills the slot of the caller's own fallback.
pub trait FallbackSlot<T, E>: Send {
    #[doc(hidden)]
    fn answer(&mut self, why: Why) -> impl Future<Output = Option<Result<T, E>>> + Send;
}

impl<T: Send, E: Send> FallbackSlot<T, E> for Missing {
    async fn answer(&mut self, _: Why) -> Option<Result<T, E>> {
        None
    }
}

impl<T, E, G, Answered> FallbackSlot<T, E> for Once<G>
where
    T: Send,
    E: Send,
    G: FnOnce(Why) -> Answered + Send,
    Answered: Future<Output = Result<T, E>> + Send,
{
    async fn answer(&mut self, why: Why) -> Option<Result<T, E>> {
        let fallback = self.0.take()?;
        Some(fallback(why).await)
    }
}

/// Fills the slot of the degraded answer.
pub trait DegradedSlot<T, E>: Send {
    #[doc(hidden)]
    const IS_GIVEN: bool;

    #[doc(hidden)]
    fn answer(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<T>> + Send;
}

impl<T: Send, E> DegradedSlot<T, E> for Missing {
    const IS_GIVEN: bool = false;

    async fn answer(&mut self, _: &DegradedFallback, _: Why) -> Option<T> {
        None
    }
}

impl<T, E, G, Answered> DegradedSlot<T, E> for Given<G>
where
    T: Send,
    E: Send,
    G: FnMut(DegradedFallback, Why) -> Answered + Send,
    Answered: Future<Output = Result<T, E>> + Send,
{
    const IS_GIVEN: bool = true;

    async fn answer(&mut self, step: &DegradedFallback, why: Why) -> Option<T> {
        (self.0)(step.clone(), why).await.ok()
    }
}

/// Fills the slot of the alternative.
pub trait AlternativeSlot<T, E>: Send {
    #[doc(hidden)]
    const IS_GIVEN: bool;

    #[doc(hidden)]
    fn answer(&mut self, target: Alternative) -> impl Future<Output = Result<T, Option<E>>> + Send + use<Self, T, E>;
}

impl<T: Send, E: Send> AlternativeSlot<T, E> for Missing {
    const IS_GIVEN: bool = false;

    fn answer(&mut self, _: Alternative) -> impl Future<Output = Result<T, Option<E>>> + Send + use<T, E> {
        ready(Err(None))
    }
}

impl<T, E, G, Answered> AlternativeSlot<T, E> for Given<G>
where
    T: Send,
    E: Send,
    G: FnMut(Alternative) -> Answered + Send,
    Answered: Future<Output = Result<T, E>> + Send,
{
    const IS_GIVEN: bool = true;

    fn answer(
        &mut self,
        target: Alternative,
    ) -> impl Future<Output = Result<T, Option<E>>> + Send + use<T, E, G, Answered> {
        let answer = (self.0)(target);
        async move { answer.await.map_err(Some) }
    }
}

/// An answer that is a failure, on its way through the engine.
pub trait Kept<T>: Send + Sized {
    /// The answer itself where none is kept.
    #[doc(hidden)]
    fn keep(answer: T) -> Result<T, Self>;

    #[doc(hidden)]
    fn look(&self) -> &T;

    #[doc(hidden)]
    fn give(self) -> T;
}

impl<T> Kept<T> for Infallible {
    fn keep(answer: T) -> Result<T, Self> {
        Ok(answer)
    }

    fn look(&self) -> &T {
        match *self {}
    }

    fn give(self) -> T {
        match self {}
    }
}

/// An answer that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Answered<T>(T);

impl<T: Send> Kept<T> for Answered<T> {
    fn keep(answer: T) -> Result<T, Self> {
        Err(Self(answer))
    }

    fn look(&self) -> &T {
        &self.0
    }

    fn give(self) -> T {
        self.0
    }
}

/// Fills the slot of the classification.
pub trait ClassifySlot<T, E>: Send {
    #[doc(hidden)]
    type Kept: Kept<T>;

    #[doc(hidden)]
    fn verdict(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict;
}

impl<T, E: 'static> ClassifySlot<T, E> for Missing {
    type Kept = Infallible;

    fn verdict(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict {
        verdict(result, context)
    }
}

impl<T, E: std::error::Error + 'static> ClassifySlot<T, E> for BySource {
    type Kept = Infallible;

    fn verdict(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict {
        verdict_by_source(result, context)
    }
}

impl<T, E, G> ClassifySlot<T, E> for BySourceOf<G>
where
    E: 'static,
    G: Fn(&E) -> &(dyn std::error::Error + 'static) + Send,
{
    type Kept = Infallible;

    fn verdict(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict {
        verdict_by(result, &self.0, context)
    }
}

impl<T, E, G, V> ClassifySlot<T, E> for Given<G>
where
    T: Send,
    G: Fn(Result<&T, &E>) -> V + Send,
    V: IntoVerdict,
{
    type Kept = Answered<T>;

    fn verdict(&self, result: Result<&T, &E>, _: Context<'_>) -> Verdict {
        (self.0)(result).into_verdict()
    }
}

impl<T, E, G, C> ClassifySlot<T, E> for HttpBy<G, C>
where
    T: Send,
    G: Fn(&T) -> HttpAnswer + Send,
    C: ClassifySlot<T, E>,
{
    type Kept = Answered<T>;

    fn verdict(&self, result: Result<&T, &E>, context: Context<'_>) -> Verdict {
        match result {
            Ok(answer) => (self.look)(answer).verdict(context),
            Err(error) => self.errors.verdict(Err(error), context),
        }
    }
}

/// What may stand in the slot of the classification: what comes after it takes its place, but for the answers of HTTP.
pub trait Classification {
    #[doc(hidden)]
    type With<C>;

    #[doc(hidden)]
    fn with<C>(self, next: C) -> Self::With<C>;
}

impl<G, C> Classification for HttpBy<G, C> {
    type With<D> = HttpBy<G, D>;

    fn with<D>(self, errors: D) -> HttpBy<G, D> {
        HttpBy { look: self.look, errors }
    }
}

macro_rules! gives_way {
    ($([$($generic:ident)?] $slot:ty;)+) => {$(
        impl$(<$generic>)? Classification for $slot {
            type With<C> = C;

            fn with<C>(self, next: C) -> C {
                next
            }
        }
    )+};
}

gives_way! {
    [] Missing;
    [] BySource;
    [G] BySourceOf<G>;
    [G] Given<G>;
}

/// Fills the slot of the codec.
pub trait CodecSlot<T>: Send {
    #[doc(hidden)]
    const IS_GIVEN: bool;

    #[doc(hidden)]
    fn encode(&self, answer: &T) -> Option<Bytes>;

    #[doc(hidden)]
    fn decode(&self, payload: Payload<'_>) -> Option<T>;
}

impl<T> CodecSlot<T> for Missing {
    const IS_GIVEN: bool = false;

    fn encode(&self, _: &T) -> Option<Bytes> {
        None
    }

    fn decode(&self, _: Payload<'_>) -> Option<T> {
        None
    }
}

impl<T, G: Codec<T> + Send> CodecSlot<T> for Given<G> {
    const IS_GIVEN: bool = true;

    fn encode(&self, answer: &T) -> Option<Bytes> {
        self.0.encode(answer)
    }

    fn decode(&self, payload: Payload<'_>) -> Option<T> {
        self.0.decode(payload)
    }
}
