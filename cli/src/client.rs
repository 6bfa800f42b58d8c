//! The operator's side of the contract: one call after another, each with a deadline or all with one, over one connection.
//!
//! Here alone the commands meet the transport: a status becomes a [`CallError`], which says what is wrong and what mends
//! it. A call whose connection breaks is repeated where that is harmless, which is for reads and for writes that carry a
//! `request_id`; nothing is repeated that a manager has answered.

mod error;
mod events;
mod pages;
mod patience;
mod rpc;

pub(crate) use self::error::{CallError, Refusal};
pub(crate) use self::pages::{PAGE, key_of};
pub(crate) use self::patience::Patience;
pub(crate) use self::rpc::Rpc;

use cofferdam_proto::status::{Facts, is_transport};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// Where managers are told who asks.
const ACTOR: &str = "cofferdam-actor";

/// The most bytes of it that a manager takes.
const MAX_ACTOR_BYTES: usize = 128;

/// How the paths of methods begin that managers alone have.
const CONTRACT: &str = "/cofferdam.";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a call is made whose connection breaks.
const ATTEMPTS: u32 = 3;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(200);

/// The largest answer that is taken: a page of the largest policies is far below.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A manager, as an operator speaks to it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Channel,
    server: String,
    actor: Option<MetadataValue<tonic::metadata::Ascii>>,
    patience: Patience,
    /// Whether a manager has answered there.
    is_manager: Arc<AtomicBool>,
}

impl Client {
    /// Speaks to the manager at `server`, for `actor`, and waits for answers with `patience`. Connects with the first call.
    ///
    /// # Errors
    ///
    /// [`CallError::BadServer`], where the address is none that can be dialled.
    pub(crate) fn new(server: &str, actor: &str, patience: Patience) -> Result<Self, CallError> {
        let bad = |why: &str| CallError::BadServer { server: server.to_owned(), why: why.to_owned() };
        let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        if url.starts_with("https:") {
            return Err(bad("managers of this release have no TLS"));
        }
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| bad("it is no URL"))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none_or(str::is_empty) {
            return Err(bad("it is no http URL with a host"));
        }
        if endpoint.uri().port_u16().is_none() {
            return Err(bad("it has no port"));
        }
        if !matches!(endpoint.uri().path(), "" | "/") || endpoint.uri().query().is_some() {
            return Err(bad("it has a path, and managers have none"));
        }
        if endpoint.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("it names a user, and managers of this release know none"));
        }
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect_lazy();
        Ok(Self { channel, server: url, actor: named(actor), patience, is_manager: Arc::default() })
    }

    /// Where it dials.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Calls, and waits as long as this client waits.
    ///
    /// # Errors
    ///
    /// [`CallError`], where there is no answer or it is a refusal.
    pub(crate) async fn call<R: Rpc>(&self, request: R) -> Result<R::Answer, CallError> {
        self.call_with(request, self.patience).await
    }

    /// Calls, and waits so long, or as long as there is time for all calls together.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn call_within<R: Rpc>(&self, request: R, within: Duration) -> Result<R::Answer, CallError> {
        self.call_with(request, self.patience.or_each(within)).await
    }

    /// How much time is left for all calls together. `None`: each has its own.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.patience.left()
    }

    async fn call_with<R: Rpc>(&self, request: R, patience: Patience) -> Result<R::Answer, CallError> {
        let deadline = patience.deadline();
        let mut attempt = 1;
        loop {
            let remaining = deadline.saturating_duration_since(Instant::now());
            let asked = Box::pin(self.ask(request.clone(), remaining));
            let status = match timeout_at(deadline, asked).await {
                Ok(Ok(answer)) => {
                    self.has_answered::<R>();
                    return Ok(answer);
                }
                Ok(Err(status)) => status,
                Err(_) => return Err(self.no_answer::<R>(patience)),
            };
            let facts = Facts::of_status(&status);
            let broke = facts.code == Code::Unavailable && facts.may_have_reached && is_transport(&status);
            if broke && request.is_repeatable() && attempt < ATTEMPTS && deadline > Instant::now() + PAUSE {
                attempt += 1;
                sleep(PAUSE).await;
                continue;
            }
            return Err(self.failed(&request, &status, patience));
        }
    }

    async fn ask<R: Rpc>(&self, message: R, within: Duration) -> Result<R::Answer, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(message);
        request.set_timeout(within);
        if let Some(actor) = &self.actor {
            request.metadata_mut().insert(ACTOR, actor.clone());
        }
        let codec: ProstCodec<R, R::Answer> = ProstCodec::default();
        Ok(grpc.unary(request, PathAndQuery::from_static(R::PATH), codec).await?.into_inner())
    }

    fn no_answer<R: Rpc>(&self, within: Patience) -> CallError {
        CallError::NoAnswer { server: self.server.clone(), rpc: method(R::PATH), within }
    }

    fn failed<R: Rpc>(&self, request: &R, status: &Status, within: Patience) -> CallError {
        let facts = Facts::of_status(status);
        let (server, rpc) = (self.server.clone(), method(R::PATH));
        // What a peer has said comes from nothing else; what broke under an answer that had begun is the transport's as well.
        if !is_transport(status) && status.source().is_none() {
            return self.refused::<R>(Refusal::of(rpc, request.subject(), status));
        }
        let why = error::innermost(status);
        match facts.code {
            Code::DeadlineExceeded => self.no_answer::<R>(within),
            _ if !facts.may_have_reached => CallError::Unreachable { server, why },
            _ if self.is_manager.load(Ordering::Relaxed) => CallError::Broke { server, rpc, why },
            _ => CallError::NoManager { server, why: format!("the connection broke under {rpc} ({why})") },
        }
    }

    /// A refusal, where it is a manager's: those give a reason, and what answers in their place may say anything.
    fn refused<R: Rpc>(&self, refusal: Refusal) -> CallError {
        let server = self.server.clone();
        if !refusal.reason.is_empty() {
            self.has_answered::<R>();
        }
        let Refusal { rpc, message, .. } = &refusal;
        match refusal.code {
            _ if self.is_manager.load(Ordering::Relaxed) => CallError::Refused(Box::new(refusal)),
            Code::Unimplemented | Code::NotFound => {
                CallError::NoManager { server, why: format!("it does not know {rpc} ({message})") }
            }
            Code::Internal | Code::Unknown | Code::Unauthenticated | Code::PermissionDenied => {
                CallError::NoManager { server, why: format!("what it says to {rpc} is no answer of one ({message})") }
            }
            _ => CallError::Refused(Box::new(refusal)),
        }
    }

    /// Notes that a manager is there, which only what managers alone answer shows: any gRPC service may say how it does.
    fn has_answered<R: Rpc>(&self) {
        if R::PATH.starts_with(CONTRACT) {
            self.is_manager.store(true, Ordering::Relaxed);
        }
    }
}

/// The last part of a method's path.
fn method(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Who asks, as metadata has it. `None`: nobody is named, and a manager goes by the address.
fn named(actor: &str) -> Option<MetadataValue<tonic::metadata::Ascii>> {
    let actor = as_metadata(actor);
    if actor.is_empty() { None } else { actor.parse().ok() }
}

/// A text that can be metadata: what cannot be printed there, and what is not ASCII, becomes a question mark.
fn as_metadata(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(MAX_ACTOR_BYTES).collect()
}

#[cfg(test)]
mod tests;
