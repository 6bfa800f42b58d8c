//! The callers: two groups with the same work, as many calls and the same orders' pattern.
//!
//! Calls begin when their user comes, not when the call before has ended: a slow upstream therefore piles calls up, as
//! it does in real life, and no latency is hidden by a caller who waits politely.

mod protected;

pub(crate) use self::protected::Protected;

use super::measure::{Group, Meter, Served};
use super::upstream::{GROUP_HEADER, METHOD};
use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use http::uri::PathAndQuery;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Processes of each group: connections, and for the protected group SDK instances.
pub(crate) const INSTANCES: usize = 4;

/// Callers in each process.
const CALLERS_PER_INSTANCE: usize = 2;

/// How often each caller calls, on average: each group makes 64 calls a second.
const INTERVAL: Duration = Duration::from_millis(125);

/// The retries that the unprotected group makes, at once, as people write them by hand.
pub(crate) const NAIVE_RETRIES: u32 = 3;

/// The share of calls that repeat a recent order, as a user does who clicks twice.
const REPEATED_SHARE: f64 = 0.25;

/// How far back a repeated order may lie.
const RECENT_ORDERS: u64 = 256;

/// One way to make the call.
pub(crate) trait Charge: Send + Sync + 'static {
    /// Charges an order and says who answered.
    fn charge(&self, order: Bytes) -> impl Future<Output = Served> + Send;
}

/// A plain gRPC call.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    channel: Channel,
    group: Group,
}

/// Calls with the retries that people write by hand, and no deadline: what one has without a library.
#[derive(Debug)]
pub(crate) struct Naive(pub Plain);

/// A group at work. Its callers, and the calls they have in hand, end when this is dropped.
#[derive(Debug)]
pub(crate) struct Callers {
    _tasks: JoinSet<()>,
}

impl Plain {
    /// Calls through a connection, for a group.
    pub(crate) const fn new(channel: Channel, group: Group) -> Self {
        Self { channel, group }
    }

    /// Makes the call once.
    ///
    /// # Errors
    ///
    /// The upstream's status, or UNAVAILABLE where it cannot be reached.
    pub(crate) async fn attempt(&self, order: Bytes) -> Result<Bytes, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(order);
        request.metadata_mut().insert(GROUP_HEADER, MetadataValue::from_static(self.group.name()));
        let answer = grpc.unary(request, PathAndQuery::from_static(METHOD), BytesCodec).await?;
        Ok(answer.into_inner())
    }
}

impl Charge for Naive {
    async fn charge(&self, order: Bytes) -> Served {
        for _ in 0..=NAIVE_RETRIES {
            if self.0.attempt(order.clone()).await.is_ok() {
                return Served::Live;
            }
        }
        Served::Nobody
    }
}

/// A connection that is made when it is first used, and again when it is lost.
///
/// # Errors
///
/// The address makes no URI.
pub(crate) fn connect(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect_lazy())
}

impl Callers {
    /// Puts a group to work, each instance with its own way to call.
    pub(crate) fn start<C: Charge>(group: Group, instances: Vec<C>, meter: &Meter, seed: u64) -> Self {
        let mut tasks = JoinSet::new();
        let orders = Arc::new(AtomicU64::new(0));
        for (index, instance) in instances.into_iter().enumerate() {
            let instance = Arc::new(instance);
            for caller in 0..CALLERS_PER_INSTANCE {
                let own = seed.wrapping_add((index * CALLERS_PER_INSTANCE + caller) as u64);
                tasks.spawn(call_for_ever(
                    group,
                    Arc::clone(&instance),
                    meter.clone(),
                    Arc::clone(&orders),
                    SmallRng::seed_from_u64(own),
                ));
            }
        }
        Self { _tasks: tasks }
    }
}

async fn call_for_ever<C: Charge>(
    group: Group,
    instance: Arc<C>,
    meter: Meter,
    orders: Arc<AtomicU64>,
    mut dice: SmallRng,
) {
    let mut calls = JoinSet::new();
    let mut next = Instant::now() + INTERVAL.mul_f64(dice.random());
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {
                next += INTERVAL.mul_f64(dice.random_range(0.5..1.5));
                let order = Bytes::from(format!("order-{}", draw(&orders, &mut dice)));
                let (instance, meter) = (Arc::clone(&instance), meter.clone());
                calls.spawn(async move {
                    let began = meter.call_begins();
                    let served = instance.charge(order).await;
                    meter.call_ends(group, began, served);
                });
            }
            Some(_) = calls.join_next() => {}
        }
    }
}

/// The number of an order: a fresh one, or a recent one again.
fn draw(orders: &AtomicU64, dice: &mut SmallRng) -> u64 {
    let made = orders.load(Ordering::Relaxed);
    if made > 0 && dice.random_bool(REPEATED_SHARE) {
        return dice.random_range(made.saturating_sub(RECENT_ORDERS)..made);
    }
    orders.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::super::measure::{Purpose, Scene};
    use super::super::upstream::Fault;
    use super::*;
    use cofferdam_core::level::Level;
    use std::collections::HashSet;

    /// Takes a second for each answer.
    struct Slow;

    impl Charge for Slow {
        async fn charge(&self, _: Bytes) -> Served {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Served::Live
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_begin_when_users_come_and_not_when_calls_end() {
        let scene = Scene { level: Level::None, fault: Fault::Slow, purpose: Purpose::ByHand };
        let meter = Meter::new(scene, Duration::from_secs(10));
        let instances = std::iter::repeat_with(|| Slow).take(INSTANCES).collect();
        let callers = Callers::start(Group::Protected, instances, &meter, 1);
        tokio::time::sleep(Duration::from_secs(11)).await;
        drop(callers);
        let calls = meter.finish(String::new())[0].whole.protected.calls();
        // 64 a second for ten seconds; one at a time would have been 8 a second.
        assert!((580..700).contains(&calls), "{calls}");
    }

    #[test]
    fn about_a_quarter_of_the_orders_come_again() {
        let (orders, mut dice) = (AtomicU64::new(0), SmallRng::seed_from_u64(1));
        let drawn: Vec<_> = (0..1000).map(|_| draw(&orders, &mut dice)).collect();
        let distinct = drawn.iter().collect::<HashSet<_>>().len();
        assert!((700..800).contains(&distinct), "{distinct}");
    }
}
