//! How many requests there were of each RPC, and how they were answered.
//!
//! An answer that is an error says so in its headers, so a look at these is enough. A stream that has begun has been
//! answered with OK: how it ends is not looked for, as that would be a step between each message and its bytes.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use prost_reflect::DescriptorPool;
use tonic::{
    Status,
    codegen::{Service, http},
};

/// The codes of gRPC, from 0 to 16.
const CODES: usize = 17;

/// RPCs whose descriptors nobody else has to have.
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Counts requests by RPC and code.
#[derive(Debug)]
pub struct Requests {
    rpcs: HashMap<String, Counts>,
    /// Of RPCs that there are not.
    others: Counts,
}

type Counts = [AtomicU64; CODES];

/// How many requests of an RPC were answered with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// `package.Service/Method`; absent for those that there are not.
    pub rpc: Option<String>,
    /// The number of the gRPC code.
    pub code: usize,
    /// How many.
    pub count: u64,
}

impl Default for Requests {
    /// None yet, of all RPCs that the manager has.
    fn default() -> Self {
        let sets = [cofferdam_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let pools = sets.iter().filter_map(|set| DescriptorPool::decode(*set).ok());
        let services: Vec<_> = pools.flat_map(|pool| pool.services().collect::<Vec<_>>()).collect();
        let methods = services.iter().flat_map(|service| {
            service.methods().map(|method| format!("{}/{}", service.full_name(), method.name())).collect::<Vec<_>>()
        });
        let rpcs = methods.chain(REFLECTION.map(str::to_owned)).map(|rpc| (rpc, Counts::default())).collect();
        Self { rpcs, others: Counts::default() }
    }
}

impl Requests {
    /// How many there were so far, by RPC: of each RPC those that were answered with OK, and with another code as far as
    /// there were any.
    pub fn counts(&self) -> Vec<RequestCount> {
        let mut rpcs: Vec<_> = self.rpcs.iter().map(|(rpc, counts)| (Some(rpc), counts)).collect();
        rpcs.sort_unstable_by_key(|(rpc, _)| *rpc);
        rpcs.push((None, &self.others));
        let of = |(rpc, counts): (Option<&String>, &Counts)| {
            let counts: Vec<_> = counts.iter().map(|count| count.load(Relaxed)).collect();
            let rpc = rpc.cloned();
            let shown = counts.into_iter().enumerate().filter(|(code, count)| *code == 0 || *count > 0);
            shown.map(move |(code, count)| RequestCount { rpc: rpc.clone(), code, count })
        };
        rpcs.into_iter().flat_map(of).collect()
    }

    fn count(&self, path: &str, code: usize) {
        let rpc = path.strip_prefix('/').and_then(|rpc| self.rpcs.get(rpc));
        if let Some(count) = rpc.unwrap_or(&self.others).get(code) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }
}

impl<S, B, R> Service<http::Request<R>> for Counted<S>
where
    S: Service<http::Request<R>, Response = http::Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let (uri, requests) = (request.uri().clone(), Arc::clone(&self.requests));
        Counting { inner: self.inner.call(request), uri, requests }
    }
}

pin_project! {
    /// The answer to come.
    #[derive(Debug)]
    pub struct Counting<F> {
        #[pin]
        inner: F,
        uri: http::Uri,
        requests: Arc<Requests>,
    }
}

impl<F, B, E> Future for Counting<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &answer {
            let code = response.headers().get(Status::GRPC_STATUS).and_then(|code| code.to_str().ok()?.parse().ok());
            this.requests.count(this.uri.path(), code.unwrap_or_default());
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests;
