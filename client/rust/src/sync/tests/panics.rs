//! Panics come in through the application's own log, which runs in the middle of whatever the SDK does.

use super::*;
use cofferdam_core::name::Name;
use cofferdam_core::policy::{AlternativeFallback, FallbackPolicy, FallbackStep};
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

/// A log that panics over lines with some words, and counts how often.
#[derive(Clone, Debug)]
struct BadLog {
    words: &'static str,
    panics: Arc<AtomicU32>,
}

impl BadLog {
    /// In place of the log of this thread, which the test's runtime runs on.
    fn over(words: &'static str) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self { words, panics: Arc::default() };
        (log.clone(), tracing::subscriber::set_default(log))
    }

    fn panics(&self) -> u32 {
        self.panics.load(Ordering::Relaxed)
    }
}

impl Subscriber for BadLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        if text.0.contains(self.words) {
            self.panics.fetch_add(1, Ordering::Relaxed);
            panic!("the log's disk is full");
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{value:?} ");
    }
}

/// One that brings in a service for which there is no room: that is told in the middle of putting it in force.
fn policy_with_alternative() -> Policy {
    let alternative = AlternativeFallback {
        service: Name::new("replica").unwrap(),
        method: String::new(),
        timeout: Duration::from_secs(1),
    };
    let fallback = FallbackPolicy { chain: vec![FallbackStep::Alternative(alternative)], ..FallbackPolicy::default() };
    Policy::new(PolicySpec { level: Level::Enhanced, fallback, ..PolicySpec::default() }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_applying_keeps_the_last_good_policy_and_the_stream_and_is_a_refusal() {
    let (log, _guard) = BadLog::over("protected by the built-in default alone");
    let mut scene = Scene::with_room(2, &["a", "b"]);
    // Handles that are kept: neither gives way.
    let _kept = ["a", "b"].map(|name| scene.service(name));
    let (mut stream, _) = scene.accept().await;
    let good = policy(Level::Full);
    stream.update("a", at(1, 1), Ok(good.clone()));
    stream.answer().await;

    stream.update("a", at(1, 2), Ok(policy_with_alternative()));
    let ToManager::Refused { service, revision, refusal, in_force, is_contained: false } = stream.answer().await else {
        panic!("not refused")
    };
    assert_eq!(log.panics(), 1);
    assert_eq!((&*service, revision, in_force), ("a", Some(at(1, 2)), Some(applied("a", at(1, 1), &good))));
    assert!(refusal.reason.contains("panicked") && refusal.reason.ends_with("the log's disk is full"), "{refusal:?}");
    let in_force = scene.service("a").isolation.in_force();
    assert_eq!((in_force.revision, &in_force.policy), (Some(at(1, 1)), &good));

    // The stream goes on, for this service and the other.
    for (service, revision) in [("b", at(1, 3)), ("a", at(1, 4))] {
        stream.update(service, revision, Ok(good.clone()));
        assert_eq!(stream.answer().await, ToManager::Applied(applied(service, revision, &good)));
    }
    assert!(scene.opened.try_recv().is_err(), "the stream was given up");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_over_what_is_done_is_no_reason_to_refuse_it() {
    for words in ["policy applied", "policy removed", "outdated", "policy refused"] {
        let (log, _guard) = BadLog::over(words);
        let mut scene = Scene::new(&["a"]);
        let (mut stream, _) = scene.accept().await;
        let good = policy(Level::Full);
        stream.update("a", at(1, 1), Ok(good.clone()));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 1), &good)), "{words}");
        stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(1, 2)) });
        stream.update("a", at(1, 1), Ok(good.clone()));
        let refusal = Refusal { reason: "too much".to_owned(), field_path: "retry".to_owned() };
        stream.update("a", at(1, 3), Err(refusal.clone()));
        let revision = Some(at(1, 3));
        let refused =
            ToManager::Refused { service: "a".into(), revision, refusal, in_force: None, is_contained: false };
        assert_eq!(stream.answer().await, refused, "{words}");
        assert_eq!(log.panics(), 1, "{words}");
        assert!(scene.opened.try_recv().is_err(), "{words}: the stream was given up");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_over_the_connection_ends_nothing() {
    for words in ["connected to the manager", "the manager is out of reach"] {
        let (log, _guard) = BadLog::over(words);
        let mut scene = Scene::new(&["a"]);
        let (stream, _) = scene.accept().await;
        stream.say(FromManager::Complete(None));
        drop(stream);
        let (mut stream, _) = scene.accept().await;
        stream.update("a", at(1, 1), Ok(policy(Level::Full)));
        assert!(matches!(stream.answer().await, ToManager::Applied(_)), "{words}");
        assert!(log.panics() > 0, "{words}");
    }
}

/// The transport's own panic stands for any bug in what follows a stream.
#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_is_one_that_broke_off() {
    let mut scene = Scene::with(&["a"], Way::PanicsAtFirst(3));
    for _ in 0..3 {
        assert!(scene.attempt().await.stream.is_none());
    }
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(1, 1), Ok(policy(Level::Full)));
    assert!(matches!(stream.answer().await, ToManager::Applied(_)));
    let Some(Event::Disconnected { reason }) = scene.events.next().await else { panic!("not told") };
    assert!(reason.ends_with("a bug"), "{reason}");
}
