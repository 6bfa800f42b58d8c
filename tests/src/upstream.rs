//! A gRPC service that does as it is told: it takes any unary method of any name, and knows no message.

mod plan;

pub use plan::{Behaviour, Gate, Reply};

use crate::ports;
use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use plan::Plan;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A scriptable gRPC server on a loopback port that stays its own while it is down.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    plan: Arc<Plan>,
    serving: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts one that behaves as told, for every method.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    pub async fn start(behaviour: Behaviour) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
        let mut upstream = Self { address, plan: Arc::new(Plan::new(behaviour)), serving: None };
        upstream.up().await;
        upstream
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what every method does that has no behaviour of its own; calls under way end as they began.
    pub fn behave(&self, behaviour: Behaviour) {
        self.plan.behave(behaviour);
    }

    /// Changes what one method does, named in full: `/package.Service/Method`.
    pub fn behave_for(&self, method: &str, behaviour: Behaviour) {
        self.plan.behave_for(method, behaviour);
    }

    /// Calls that have arrived so far.
    pub fn calls(&self) -> u64 {
        self.plan.calls()
    }

    /// Calls of one method that have arrived so far.
    pub fn calls_of(&self, method: &str) -> u64 {
        self.plan.calls_of(method)
    }

    /// Calls that are under way: that have arrived, and were neither answered nor given up by their caller.
    pub fn under_way(&self) -> u64 {
        self.plan.under_way()
    }

    /// The most calls that were ever under way at once.
    pub fn peak(&self) -> u64 {
        self.plan.peak()
    }

    /// The headers of the last call that arrived, binary ones left out. Empty: none arrived.
    pub fn last_headers(&self) -> Vec<(String, String)> {
        self.plan.last_headers()
    }

    /// Goes down: open connections break, new ones are refused.
    pub async fn down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Awaited, so that the port is closed when this returns.
            drop(serving.await);
        }
    }

    /// Comes up again at the same address.
    ///
    /// # Panics
    ///
    /// If it cannot listen there.
    pub async fn up(&mut self) {
        self.down().await;
        let listener = TcpListener::bind(self.address).await.expect("the upstream's port is its own");
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.plan))));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Serves until it is aborted, which takes its connections along.
async fn serve(listener: TcpListener, plan: Arc<Plan>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        drop(socket.set_nodelay(true));
        let plan = Arc::clone(&plan);
        connections.spawn(async move {
            let of_connection = Arc::clone(&plan);
            let service = tower::service_fn(move |request| {
                let plan = Arc::clone(&of_connection);
                async move { Ok::<_, Infallible>(answer(request, plan).await) }
            });
            let service = TowerToHyperService::new(service);
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().max_concurrent_streams(10_000);
            let connection = server.serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                // A broken connection is the client's affair.
                ended = connection => drop(ended),
                () = plan.cut() => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: http::Request<hyper::body::Incoming>, plan: Arc<Plan>) -> http::Response<tonic::body::Body> {
    let method = request.uri().path().to_owned();
    let handler = tower::service_fn(move |request: tonic::Request<Bytes>| {
        let (plan, method) = (Arc::clone(&plan), method.clone());
        async move { plan.answer(&method, request).await.map(tonic::Response::new) }
    });
    tonic::server::Grpc::new(BytesCodec)
        .apply_max_message_size_config(Some(usize::MAX), Some(usize::MAX))
        .unary(handler, request)
        .await
}
