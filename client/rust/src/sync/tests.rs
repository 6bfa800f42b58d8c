//! The sync task against a scripted manager, in memory and on paused time.

use super::message::{Applied, FromManager, Hello, Refusal, Report, ToManager, Update};
use super::{Down, Outbound, Transport, run};
use crate::client::{Identity, Shared};
use crate::events::{Event, Events};
use crate::registry::{Capacity, Registry, ServiceState};
use cofferdam_core::level::Level;
use cofferdam_core::orders::Orders;
use cofferdam_core::policy::{Policy, PolicySpec};
use cofferdam_core::revision::Revision;
use cofferdam_core::wire::policy_hash;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

mod containing;
mod disorder;
mod hints;
mod managers;
mod orders;
mod panics;
mod policies;
mod ready;
pub(in crate::sync) mod reports;
mod restored;
mod streams;

/// A way to a manager that is the test itself.
struct Scripted {
    address: Arc<str>,
    opened: mpsc::UnboundedSender<Opened>,
    way: Way,
}

/// What opening a stream leads to.
enum Way {
    IsOpen,
    Refuses,
    /// It takes connections and never says anything.
    Hangs,
    /// So many times, by a bug of the transport.
    PanicsAtFirst(u32),
}

/// An attempt to open a stream.
struct Opened {
    manager: Arc<str>,
    at: Instant,
    stream: Option<Stream>,
}

/// The manager's end of a stream.
struct Stream {
    from_instance: Outbound,
    to_instance: mpsc::UnboundedSender<Result<FromManager, Down>>,
}

impl Transport for Scripted {
    type Inbound = UnboundedReceiverStream<Result<FromManager, Down>>;

    fn address(&self) -> &Arc<str> {
        &self.address
    }

    async fn open(&mut self, from_instance: Outbound) -> Result<Self::Inbound, Down> {
        let (manager, at) = (Arc::clone(&self.address), Instant::now());
        match &mut self.way {
            Way::IsOpen | Way::PanicsAtFirst(0) => {}
            Way::Refuses => {
                let _ = self.opened.send(Opened { manager, at, stream: None });
                return Err(Down::new("connection refused"));
            }
            Way::Hangs => {
                let _ = self.opened.send(Opened { manager, at, stream: None });
                return std::future::pending().await;
            }
            Way::PanicsAtFirst(times) => {
                *times -= 1;
                let _ = self.opened.send(Opened { manager, at, stream: None });
                panic!("a bug");
            }
        }
        let (to_instance, inbound) = mpsc::unbounded_channel();
        let stream = Some(Stream { from_instance, to_instance });
        let _ = self.opened.send(Opened { manager, at, stream });
        // A manager may speak before the instance knows that it is connected.
        tokio::task::yield_now().await;
        Ok(UnboundedReceiverStream::new(inbound))
    }
}

/// An instance, and the manager that it syncs with.
struct Scene {
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    opened: mpsc::UnboundedReceiver<Opened>,
    events: Events,
}

impl Scene {
    fn new(services: &[&str]) -> Self {
        Self::with(services, Way::IsOpen)
    }

    fn with(services: &[&str], way: Way) -> Self {
        Self::start(services, vec![("test", way)], |shared| shared)
    }

    /// With several managers.
    fn among(managers: Vec<(&'static str, Way)>) -> Self {
        Self::start(&["a"], managers, |shared| shared)
    }

    /// With room for so many services.
    fn with_room(room: usize, services: &[&str]) -> Self {
        let capacity = Capacity { followed: room, nameless: 0 };
        Self::start(services, vec![("test", Way::IsOpen)], |shared| Shared {
            registry: Registry::with_capacity(Policy::default(), shared.hub.clone(), capacity),
            ..shared
        })
    }

    fn start(services: &[&str], managers: Vec<(&'static str, Way)>, set_up: impl FnOnce(Shared) -> Shared) -> Self {
        let identity = Identity {
            instance_id: "checkout-1".to_owned(),
            application: "checkout".to_owned(),
            namespace: "default".to_owned(),
            labels: vec![("zone".to_owned(), "a".to_owned())],
        };
        let shared = Arc::new(set_up(Shared::new(identity, Policy::default(), Vec::new())));
        for service in services {
            shared.registry.service(service);
        }
        let (sender, opened) = mpsc::unbounded_channel();
        let scripted = |(address, way)| Scripted { address: Arc::from(address), opened: sender.clone(), way };
        let managers = managers.into_iter().map(scripted).collect();
        let stop = CancellationToken::new();
        let events = shared.hub.listen();
        let task = tokio::spawn(run(Arc::clone(&shared), managers, stop.clone()));
        Self { shared, stop, task, opened, events }
    }

    fn service(&self, name: &str) -> Arc<ServiceState> {
        self.shared.registry.service(name)
    }

    async fn attempt(&mut self) -> Opened {
        self.opened.recv().await.expect("the instance has given up")
    }

    /// The next stream, and its hello.
    async fn accept(&mut self) -> (Stream, Hello) {
        let mut stream = self.attempt().await.stream.expect("refused");
        match stream.next().await {
            ToManager::Hello(hello) => (stream, hello),
            other => panic!("not a hello: {other:?}"),
        }
    }

    /// The next event that is not about the connection.
    async fn event(&mut self) -> Event {
        loop {
            match self.events.next().await.expect("no more events") {
                Event::Connected { .. } | Event::Disconnected { .. } => {}
                event => return event,
            }
        }
    }
}

impl Stream {
    fn say(&self, message: FromManager) {
        // An error says that the instance has left, which the test will see.
        let _ = self.to_instance.send(Ok(message));
    }

    fn update(&self, service: &str, revision: Revision, policy: Result<Policy, Refusal>) {
        self.order(service, revision, policy, Orders::default());
    }

    /// A policy, with what operators have ordered beside it.
    fn order(&self, service: &str, revision: Revision, policy: Result<Policy, Refusal>, orders: Orders) {
        self.say(FromManager::Update(Update {
            service: service.to_owned(),
            revision: Some(revision),
            policy,
            is_enabled: true,
            is_insisted: false,
            as_of: None,
            orders,
        }));
    }

    /// The instance's next message.
    async fn next(&mut self) -> ToManager {
        self.from_instance.next().await.expect("the instance has ended the stream")
    }

    /// The instance's next message that is not a report.
    async fn answer(&mut self) -> ToManager {
        loop {
            match self.next().await {
                ToManager::Report(_) => {}
                message => return message,
            }
        }
    }

    /// The instance's next report.
    async fn report(&mut self) -> Report {
        match self.next().await {
            ToManager::Report(report) => report,
            other => panic!("not a report: {other:?}"),
        }
    }
}

fn policy(level: Level) -> Policy {
    Policy::new(PolicySpec { level, ..PolicySpec::default() }).unwrap()
}

fn at(epoch: u64, revision: u64) -> Revision {
    Revision { epoch, revision }
}

fn applied(service: &str, revision: Revision, policy: &Policy) -> Applied {
    Applied { service: service.into(), revision, hash: policy_hash(policy) }
}
