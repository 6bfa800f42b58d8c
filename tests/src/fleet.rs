//! Instances that call a service without a pause for thought, and count what becomes of it.

use crate::wait::{before_the_next_try, within};
use bytes::Bytes;
use cofferdam::{Cofferdam, Service};
use cofferdam_proto::BytesCodec;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// An instance of an application: an SDK of its own with a stream of its own.
#[derive(Debug)]
pub struct Instance {
    /// Its SDK.
    pub cofferdam: Cofferdam,
    /// The service that it calls.
    pub service: Service,
    stop: Arc<AtomicBool>,
    made: watch::Receiver<u64>,
    failed: Arc<AtomicU64>,
    calling: JoinHandle<()>,
}

/// What an instance's calls came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Protected calls that were begun; each of them ended.
    pub made: u64,
    /// Those that ended with an error.
    pub failed: u64,
}

impl Instance {
    /// Starts an instance that calls a unary method of a service, one call after the other, at this address.
    ///
    /// # Panics
    ///
    /// If the address is none.
    pub fn start(manager: &str, id: &str, service: &str, upstream: &str) -> Self {
        let cofferdam = Cofferdam::builder("checkout").manager(manager).instance_id(id).start();
        let service = cofferdam.service(service);
        let channel = Endpoint::from_shared(format!("http://{upstream}")).expect("an address").connect_lazy();
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicU64::new(0));
        let (count, made) = watch::channel(0);
        let calling = {
            let (service, stop, failed) = (service.clone(), Arc::clone(&stop), Arc::clone(&failed));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = service.execute("Echo", || echo(channel.clone())).idempotent().await;
                    if answer.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    count.send_modify(|made| *made += 1);
                    before_the_next_try().await;
                }
            })
        };
        Self { cofferdam, service, stop, made, failed, calling }
    }

    /// Waits until so many more calls have ended.
    ///
    /// # Panics
    ///
    /// If they do not end.
    pub async fn proceed(&mut self, calls: u64) {
        let goal = *self.made.borrow() + calls;
        within("calls", self.made.wait_for(|made| *made >= goal)).await.expect("the instance goes on calling");
    }

    /// What its calls came to so far.
    pub fn tally(&self) -> Tally {
        Tally { made: *self.made.borrow(), failed: self.failed.load(Ordering::Relaxed) }
    }

    /// Stops calling, waits for the last call, and returns what they came to. The SDK and its stream go on.
    ///
    /// # Panics
    ///
    /// If the last call does not end.
    pub async fn rest(&mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        within("the last call", &mut self.calling).await.expect("the caller did not panic");
        self.tally()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.calling.abort();
    }
}

/// One call of a unary method, over the wire.
///
/// # Errors
///
/// The status of the service, or UNAVAILABLE where it cannot be reached.
pub async fn echo(channel: Channel) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/tests.Echo/Echo");
    let response = client.unary(Request::new(Bytes::from_static(b"echo")), path, BytesCodec).await?;
    Ok(response.into_inner())
}
