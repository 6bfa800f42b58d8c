//! The service that everybody calls: a real gRPC server on a real socket, whose fault somebody can switch.
//!
//! It knows no message: it answers `/demo.Payments/Charge` with bytes, through the codec of the contract's crate. What
//! it does to a call is decided when the call arrives; each call tells in a header which group made it, so that the
//! load of both is counted where it lands.

use super::measure::{Group, Meter};
use crate::error::Error;
use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tower_service::Service;

/// The one method.
pub(crate) const METHOD: &str = "/demo.Payments/Charge";

/// The header that names the caller's group.
pub(crate) const GROUP_HEADER: &str = "demo-group";

/// How long a healthy call takes, and a broken one too: breaking is not the same as being gone.
const WORK: Duration = Duration::from_millis(5);

/// How long a slow call takes.
const SLOW_WORK: Duration = Duration::from_secs(2);

/// The share of flaky calls that fail.
const FLAKY_SHARE: f64 = 0.3;

/// What is wrong with the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: an answer after 5 ms.
    Healthy,
    /// 30 % of the calls fail with UNAVAILABLE.
    Flaky,
    /// Every call takes 2 s.
    Slow,
    /// Every call fails with UNAVAILABLE.
    Broken,
}

impl Fault {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The running server. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    stop: CancellationToken,
}

impl Upstream {
    /// Starts it, healthy, on a free port of this machine.
    ///
    /// # Errors
    ///
    /// No port could be had.
    pub(crate) async fn start(meter: Meter, seed: u64) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let no_port = |source| Error::NoPort { what: "the demo's upstream", source };
        let listener = listener.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let (fault, present_fault) = watch::channel(Fault::Healthy);
        let dice = Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)));
        let payments = Payments { meter, fault: present_fault, dice };
        let stop = CancellationToken::new();
        // The builder's own setting is for sockets that it accepts itself.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .max_concurrent_streams(None)
            .add_service(payments)
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(server);
        Ok(Self { address, fault, stop })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is wrong with it.
    pub(crate) fn fault(&self) -> Fault {
        *self.fault.borrow()
    }

    /// Makes something wrong with it, or heals it. Calls that it has in hand are as they were.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The service `demo.Payments`.
#[derive(Clone)]
struct Payments {
    meter: Meter,
    fault: watch::Receiver<Fault>,
    dice: Arc<Mutex<SmallRng>>,
}

impl NamedService for Payments {
    const NAME: &'static str = "demo.Payments";
}

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Service<http::Request<Body>> for Payments {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let payments = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(BytesCodec);
            if request.uri().path() == METHOD {
                Ok(grpc.unary(payments, request).await)
            } else {
                Ok(grpc.unary(NoSuchMethod, request).await)
            }
        })
    }
}

impl UnaryService<Bytes> for Payments {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let payments = self.clone();
        Box::pin(payments.charge(request))
    }
}

impl Payments {
    async fn charge(self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        let group = request.metadata().get(GROUP_HEADER).and_then(|value| value.to_str().ok());
        let group = Group::ALL.into_iter().find(|candidate| Some(candidate.name()) == group);
        let _in_flight = group.map(|group| self.meter.arrives(group));
        let fault = *self.fault.borrow();
        let fails = match fault {
            Fault::Healthy | Fault::Slow => false,
            Fault::Flaky => self.dice.lock().unwrap_or_else(PoisonError::into_inner).random_bool(FLAKY_SHARE),
            Fault::Broken => true,
        };
        tokio::time::sleep(if fault == Fault::Slow { SLOW_WORK } else { WORK }).await;
        if fails {
            return Err(Status::unavailable("the card network is down"));
        }
        let order = String::from_utf8_lossy(request.get_ref());
        Ok(Response::new(Bytes::from(format!(r#"{{"order":"{order}","status":"charged"}}"#))))
    }
}

/// Answers whatever else is asked.
struct NoSuchMethod;

impl UnaryService<Bytes> for NoSuchMethod {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        ready(Err(Status::unimplemented(format!("the demo's upstream knows {METHOD} alone"))))
    }
}

#[cfg(test)]
mod tests;
