//! What a scriptable service is to do, and what it has seen.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tonic::metadata::KeyAndValueRef;
use tonic::{Code, Request, Status};

/// What a method does with a call.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How long it takes. Zero: no time.
    pub delay: Duration,
    /// What it then waits for. `None`: nothing.
    pub gate: Option<Gate>,
    /// What it then does.
    pub reply: Reply,
}

/// What holds calls until it is opened, once for all.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

/// How a method ends a call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with the request's own bytes.
    Echo,
    /// Answers with these bytes.
    Bytes(Bytes),
    /// Fails with this code and message.
    Fail(Code, String),
    /// Breaks the connection, and with it every call on it.
    Drop,
    /// Never ends it.
    Hang,
}

#[derive(Debug)]
pub(super) struct Plan {
    seen: Mutex<Seen>,
    under_way: AtomicU64,
    cut: Notify,
}

#[derive(Debug)]
struct Seen {
    behaviour: Behaviour,
    of_methods: HashMap<String, Behaviour>,
    calls: u64,
    calls_of: HashMap<String, u64>,
    peak: u64,
    last_headers: Vec<(String, String)>,
}

/// A call under way; dropped when it ends, however it ends.
struct UnderWay<'a>(&'a AtomicU64);

impl Behaviour {
    /// Answers at once with the request's own bytes.
    pub const fn echo() -> Self {
        Self::at_once(Reply::Echo)
    }

    /// Answers at once with these bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::at_once(Reply::Bytes(bytes.into()))
    }

    /// Fails at once with this code.
    pub fn fail(code: Code) -> Self {
        Self::at_once(Reply::Fail(code, format!("told to fail with {code:?}")))
    }

    /// Does this at once.
    pub const fn at_once(reply: Reply) -> Self {
        Self { delay: Duration::ZERO, gate: None, reply }
    }

    /// The same, after this time.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, as soon as a gate is open.
    #[must_use]
    pub fn behind(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }
}

impl Gate {
    /// One that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        // There is never a permit: whoever waits is told that it is closed, which is what opens the gate.
        let _ = self.0.acquire().await;
    }
}

impl Plan {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        let seen = Seen {
            behaviour,
            of_methods: HashMap::new(),
            calls: 0,
            calls_of: HashMap::new(),
            peak: 0,
            last_headers: Vec::new(),
        };
        Self { seen: Mutex::new(seen), under_way: AtomicU64::new(0), cut: Notify::new() }
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.seen().behaviour = behaviour;
    }

    pub(super) fn behave_for(&self, method: &str, behaviour: Behaviour) {
        self.seen().of_methods.insert(method.to_owned(), behaviour);
    }

    pub(super) fn calls(&self) -> u64 {
        self.seen().calls
    }

    pub(super) fn calls_of(&self, method: &str) -> u64 {
        self.seen().calls_of.get(method).copied().unwrap_or_default()
    }

    pub(super) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) fn peak(&self) -> u64 {
        self.seen().peak
    }

    pub(super) fn last_headers(&self) -> Vec<(String, String)> {
        self.seen().last_headers.clone()
    }

    /// Ends when the connections that are open now are to break.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    pub(super) async fn answer(&self, method: &str, request: Request<Bytes>) -> Result<Bytes, Status> {
        let (behaviour, _under_way) = self.arrive(method, &request);
        if !behaviour.delay.is_zero() {
            tokio::time::sleep(behaviour.delay).await;
        }
        if let Some(gate) = &behaviour.gate {
            gate.pass().await;
        }
        match behaviour.reply {
            Reply::Echo => Ok(request.into_inner()),
            Reply::Bytes(bytes) => Ok(bytes),
            Reply::Fail(code, message) => Err(Status::new(code, message)),
            Reply::Drop => {
                self.cut.notify_waiters();
                std::future::pending().await
            }
            Reply::Hang => std::future::pending().await,
        }
    }

    fn arrive(&self, method: &str, request: &Request<Bytes>) -> (Behaviour, UnderWay<'_>) {
        let mut seen = self.seen();
        seen.calls += 1;
        *seen.calls_of.entry(method.to_owned()).or_default() += 1;
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        seen.peak = seen.peak.max(under_way);
        seen.last_headers = request.metadata().iter().filter_map(header).collect();
        let behaviour = seen.of_methods.get(method).unwrap_or(&seen.behaviour).clone();
        (behaviour, UnderWay(&self.under_way))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn header(pair: KeyAndValueRef<'_>) -> Option<(String, String)> {
    match pair {
        KeyAndValueRef::Ascii(key, value) => Some((key.to_string(), value.to_str().ok()?.to_owned())),
        KeyAndValueRef::Binary(..) => None,
    }
}
