//! HTTP with JSON, on the port that serves gRPC.
//!
//! There is one model: the contract. Which method and path an RPC has is said beside it, as `google.api.http`, and read
//! from the descriptors at start; a request becomes the RPC's message, goes to the service as any gRPC call does, and the
//! answer comes back as proto3 JSON. So HTTP can do nothing that gRPC cannot, and needs no second set of checks.
//!
//! What is HTTP's own is here: paths and methods, types and sizes of bodies, revisions as entity tags, errors as RFC
//! 9457 has them, probes, and what keeps web pages out while nobody authenticates (`http/guard.rs`).

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use cofferdam_proto::FILE_DESCRIPTOR_SET;
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body, Frame};
use percent_encoding::percent_decode_str;
use prost_reflect::DescriptorPool;
use tokio_util::sync::CancellationToken;

mod accept;
mod door;
mod front;
mod guard;
mod openapi;
mod pages;
mod problem;
mod route;
mod rules;
pub mod seed_fallback;
mod seeds;
mod sse;
mod transcode;

pub(crate) use self::problem::code_name;
pub use self::{
    door::{Door, Key},
    front::Front,
};

use self::{
    guard::Guard,
    pages::Page,
    problem::Problem,
    route::{Found, Route, Table},
    rules::Rpc,
    seeds::{Seed, SeedWrite},
    transcode::Asked,
};
use crate::{config::Config, grpc::InProcess, metrics::Metrics, peer::Peer, registry::Registry};

/// The most bytes of a body. As base64 in JSON, what gRPC takes at most fits.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Headers that begin so become the call's metadata.
const METADATA_PREFIX: &str = "cofferdam-";

/// Headers that say which trace a call belongs to become its metadata, too.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

const JSON: &str = "application/json";

/// Says what a path takes of a `PATCH` (RFC 5789, section 3.1).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who answers what is not gRPC.
#[derive(Clone, Debug)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    routes: Table<Target>,
    service: InProcess,
    guard: Guard,
    health: pages::Health,
}

/// The body of an answer: whole, or as it comes.
pub type Content = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// What is answered.
enum Said {
    Whole(Bytes),
    Stream(BoxStream<'static, Bytes>),
}

/// What a path stands for.
#[derive(Debug)]
enum Target {
    Page(Page),
    Seed(Seed),
    SeedWrite(SeedWrite),
    Rpc(Rpc),
}

/// By which names the manager may be asked.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Whether others than this machine can reach the manager.
    pub is_exposed: bool,
    /// Names of hosts beside `localhost`.
    pub hosts: Vec<String>,
}

impl From<&Config> for HttpOptions {
    fn from(config: &Config) -> Self {
        // Where other managers reach this one, others do as well.
        let advertised = config.peers.advertise_address.as_deref().and_then(|address| address.rsplit_once(':'));
        let advertised = advertised.map(|(host, _)| host.to_owned());
        let hosts = config.listen.hosts.iter().cloned().chain(advertised).collect();
        Self { is_exposed: config.is_exposed(), hosts }
    }
}

impl Http {
    /// Over these services. `leaving` fires when the manager is about to stop.
    ///
    /// # Errors
    /// What is wrong with the contract's rules for HTTP.
    pub fn new(
        service: InProcess,
        registry: Arc<Registry>,
        metrics: Metrics,
        leaving: CancellationToken,
        options: HttpOptions,
    ) -> Result<Self, String> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())?;
        let mut routes = Table::default();
        for (path, page) in pages::PAGES {
            routes.add(Route::new(Method::GET, path, Target::Page(*page))?);
        }
        for (path, seed) in seeds::READS {
            routes.add(Route::new(Method::GET, path, Target::Seed(*seed))?);
        }
        for (path, write) in seeds::WRITES {
            routes.add(Route::new(Method::POST, path, Target::SeedWrite(*write))?);
        }
        let rules = rules::read(&pool)?;
        let openapi = format!("{}\n", openapi::document(&pool, &rules));
        for (method, path, rpc) in rules {
            routes.add(Route::new(method, &path, Target::Rpc(rpc))?);
        }
        let health = pages::Health { registry, metrics, leaving, openapi: openapi.into() };
        Ok(Self { inner: Arc::new(Inner { routes, service, guard: Guard::new(options), health }) })
    }

    /// Answers one request; a problem is an answer as well.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Content>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let mut answer =
            self.inner.answer(&head, body).await.unwrap_or_else(|problem| problem.into_response().map(Said::Whole));
        if head.method == Method::PATCH && answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            answer.headers_mut().insert(ACCEPT_PATCH, HeaderValue::from_static(JSON));
        }
        let length = match answer.body() {
            Said::Whole(body) => Some(body.len()),
            Said::Stream(_) => None,
        };
        let headers = answer.headers_mut();
        // Revisions are for conditions, not for caches: what instances report changes without them.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if head.method != Method::HEAD {
            return answer.map(Said::into_content);
        }
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        answer.map(|_| Said::Whole(Bytes::new()).into_content())
    }

    /// The same as a future without a lifetime.
    fn answer_later<B>(&self, request: Request<B>) -> BoxFuture<'static, Result<Response<Content>, Infallible>>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let http = self.clone();
        Box::pin(async move { Ok(http.answer(request).await) })
    }
}

impl Inner {
    async fn answer<B>(&self, head: &Parts, body: B) -> Result<Response<Said>, Problem>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if front::is_grpc(&head.headers) {
            return Err(Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2"));
        }
        guard::hosts(head)?;
        if percent_decode_str(head.uri.query().unwrap_or_default()).decode_utf8().is_err() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "the query is no UTF-8 where its percent signs are read",
            ));
        }
        let (target, variables) = match self.routes.find(&head.method, head.uri.path())? {
            Found::Target(target, variables) => (target, variables),
            Found::Options(allow) => return Ok(allowing(&allow).map(Said::Whole)),
        };
        let rpc = match target {
            Target::Page(page) => {
                // Probes come by any name.
                if *page == Page::Metrics {
                    self.guard.check(head)?;
                }
                return self.health.show(*page, head).await.map(|shown| shown.map(Said::Whole));
            }
            Target::Seed(seed) => {
                self.guard.check(head)?;
                accepts_json(&head.headers)?;
                let shown = seed.show(&self.service, &self.health.registry, &variables, head).await;
                return shown.map(|shown| shown.map(Said::Whole));
            }
            Target::SeedWrite(write) => {
                self.guard.check(head)?;
                accepts_json(&head.headers)?;
                let body = read(head, body).await?;
                let made = write.make(&self.service, &self.health.registry, &variables, head, &body).await;
                return made.map(|made| made.map(Said::Whole));
            }
            Target::Rpc(rpc) => rpc,
        };
        self.guard.check(head)?;
        if rpc.is_stream {
            sse::accepts(&head.headers)?;
            let body = read(head, body).await?;
            let streamed = sse::answer(rpc, &self.service, &variables, head, body).await?;
            return Ok(streamed.map(Said::Stream));
        }
        accepts_json(&head.headers)?;
        let body = read(head, body).await?;
        let request = transcode::request(rpc, &variables, head, body).await?;
        let answer = self.call(rpc, &request, head).await.map_err(|problem| request.refused(problem))?;
        transcode::response(rpc, answer).await.map(|answer| answer.map(Said::Whole))
    }

    /// Asks the service, until a revision is met that the request may rest on.
    async fn call(&self, rpc: &Rpc, request: &Asked, head: &Parts) -> Result<Bytes, Problem> {
        let peer = head.extensions.get::<Peer>().cloned();
        let is_conditional =
            [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| head.headers.contains_key(name));
        let mut refused = None;
        for message in request.attempts() {
            let asked = self.service.call(rpc.method.clone(), message, metadata(&head.headers), peer.clone());
            match asked.await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => {
                    // A repetition is known by the revision that the first one met.
                    let is_other = matches!(refusal.reason.as_str(), "REVISION_MISMATCH" | "REQUEST_ID_REUSED");
                    refused = Some(Problem::from_refusal(refusal, is_conditional));
                    if !is_other {
                        break;
                    }
                }
            }
        }
        Err(refused.unwrap_or_else(|| Problem::internal("a request without a message")))
    }
}

impl Said {
    fn into_content(self) -> Content {
        match self {
            Self::Whole(body) => Either::Left(Full::new(body)),
            Self::Stream(blocks) => Either::Right(StreamBody::new(blocks.map(|block| Ok(Frame::data(block))).boxed())),
        }
    }
}

/// What an RPC is told of the headers.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let told = headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        TRACE_HEADERS.contains(&name) || name.starts_with(METADATA_PREFIX) && !name.ends_with("-bin")
    });
    told.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn allowing(allow: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if allow.split(", ").any(|method| method == Method::PATCH.as_str()) {
        answer.headers_mut().insert(ACCEPT_PATCH, HeaderValue::from_static(JSON));
    }
    if let Ok(allow) = HeaderValue::from_str(allow) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// Reads a body, within its bounds.
async fn read<B>(head: &Parts, body: B) -> Result<Bytes, Problem>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let encoded = head.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if encoded {
        let problem = Problem::unsupported("bodies are taken as they are, without a Content-Encoding");
        return Err(problem.with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let body = std::pin::pin!(body);
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {BODY_TIMEOUT:?}");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("the body has more than the {MAX_BODY_BYTES} bytes that the manager takes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Refuses who wants something else than JSON.
fn accepts_json(headers: &HeaderMap) -> Result<(), Problem> {
    if accept::accepts(headers, &[JSON, "application/*", "*/*"]) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "answers are application/json"))
}

#[cfg(test)]
mod tests;
