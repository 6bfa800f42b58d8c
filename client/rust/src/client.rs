//! The SDK's entrance.

use crate::builder::Builder;
use crate::connection::{Connection, Link};
use crate::containment::Containment;
use crate::events::{Events, Hub};
use crate::policy_file::{KeptFile, PolicyFile};
use crate::registry::Registry;
use crate::runtime::Tokio;
use crate::service::Service;
use crate::transport::Manager;
use cofferdam_core::name::{InvalidName, Name};
use cofferdam_core::policy::Policy;
use cofferdam_core::runtime::Runtime as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a shutdown waits at the most: longer than the stream takes for its farewell.
const GOODBYE: Duration = Duration::from_secs(5);

/// The SDK of one process: the services it calls, and its stream to the manager. Cheap to clone; all clones are one.
///
/// The stream lives as long as any clone, or any [`Service`] made by one.
#[derive(Clone, Debug)]
pub struct Cofferdam {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    tasks: Vec<Task>,
}

/// What the handles and the sync task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) registry: Registry,
    pub(crate) link: Link,
    pub(crate) hub: Hub,
    /// Any of them will do. Empty: there is none, or none that can be used.
    pub(crate) managers: Vec<Manager>,
    /// Where policies are kept for the next process. `None`: nowhere.
    pub(crate) file: Option<Arc<KeptFile>>,
    pub(crate) containment: Containment,
}

/// Who an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) instance_id: String,
    pub(crate) application: String,
    pub(crate) namespace: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// A task in the background; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Task {
    stop: CancellationToken,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
    /// Whether it is part of what protects calls, which go on after a shutdown.
    outlives_shutdown: bool,
}

impl Shared {
    pub(crate) fn new(identity: Identity, default_policy: Policy, managers: Vec<Manager>) -> Self {
        let hub = Hub::new();
        let registry = Registry::new(default_policy, hub.clone());
        Self {
            identity,
            registry,
            link: Link::new(hub.clone()),
            hub,
            managers,
            file: None,
            containment: Containment::new(true),
        }
    }

    /// Begins by what an earlier process kept in a directory, and keeps what is in force there.
    pub(crate) fn keep_in(&mut self, dir: &Path) {
        let (file, kept) = KeptFile::open(dir, &self.identity);
        self.registry.restore(kept, &self.identity.instance_id);
        self.file = Some(Arc::new(file));
    }

    /// Has what is in force now kept, soon.
    pub(crate) fn keep(&self) {
        if let Some(file) = &self.file {
            file.changed();
        }
    }
}

impl Task {
    /// Starts a task on the caller's runtime, else on the SDK's own. `None`: there is no thread to run it on.
    pub(crate) fn spawn<F>(task: impl FnOnce(CancellationToken) -> F) -> Option<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = crate::runtime::handle()?;
        let stop = CancellationToken::new();
        let (running, ended) = watch::channel(());
        let task = task(stop.clone());
        runtime.spawn(async move {
            // Dropped as the task ends, in whatever way: with it, `ended` closes.
            let _running = running;
            task.await;
        });
        Some(Self { stop, ended, outlives_shutdown: false })
    }

    /// The same, which does not end before the last handle goes.
    pub(crate) fn outliving_shutdown(mut self) -> Self {
        self.outlives_shutdown = true;
        self
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cofferdam {
    /// Begins to set up the SDK for an application, for example `checkout`.
    ///
    /// The name groups instances for operators: 1 to 128 printable ASCII characters.
    pub fn builder(application: impl Into<String>) -> Builder {
        Builder::new(application.into())
    }

    pub(crate) fn new(shared: Arc<Shared>, tasks: Vec<Task>) -> Self {
        Self { inner: Arc::new(Inner { shared, tasks }) }
    }

    /// The handle to a service. One name is one service: all handles share its breaker, places, budget and cache.
    /// Looking it up takes a lock for a moment, which a call by a handle does not.
    ///
    /// From now on the manager is asked for the service's policy; until it comes, and where it never comes, the
    /// built-in default protects. This neither waits nor fails.
    ///
    /// A name that no service can have (see [`Name`]) is protected by the built-in default alone; an
    /// [`Event::NotFollowed`](crate::Event::NotFollowed) and a warning say so. [`try_service`](Self::try_service) is
    /// for names that are not written in the code.
    ///
    /// # Names without end
    ///
    /// 10,000 services are kept, and 1,000 names that no service can have; a name made of, say, a user's id can be any
    /// of a million. Past that, a new name takes the place of a service that has no handle, no call under way, a closed
    /// breaker and no failure in its window, first of one that the manager has no policy for. Named again, such a
    /// service begins anew; what it counted and the manager was not told yet is lost.
    ///
    /// Where none of those looked at is so, the new name shares one isolation with all others that found no room, for as
    /// long as its handle lives: they have one breaker, one set of places and the built-in default policy, without its
    /// cached step. An [`Event::NotFollowed`](crate::Event::NotFollowed) and a warning tell of the first.
    ///
    /// So a million names take no more memory than 11,000: less than 64 MiB where few of them are called, from one thread and
    /// by a policy without a cache. What a call leaves behind is kept with its service: 74 MiB were measured where each of
    /// 11,000 was called once, and 112 MiB where each had failed as well.
    pub fn service(&self, name: &str) -> Service {
        Service::new(self.clone(), name, self.inner.shared.registry.service(name))
    }

    /// As [`service`](Self::service).
    ///
    /// # Errors
    ///
    /// [`InvalidName`] where no service can have the name.
    pub fn try_service(&self, name: &str) -> Result<Service, InvalidName> {
        Name::new(name).map(|name| self.service(name.as_str()))
    }

    /// Waits, so long at the most, for what the manager has to say of the services that were named so far; for a process
    /// whose first calls are not to run under the built-in default. Whether it has said it. At once where there is no
    /// manager: then there is nothing to wait for.
    ///
    /// A manager that is away is no reason not to start: calls are protected either way.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let cd = cofferdam::Cofferdam::builder("checkout").manager("http://127.0.0.1:1").start();
    /// let db = cd.service("orders-db");
    /// if !cd.ready(Duration::from_millis(50)).await {
    ///     println!("orders-db begins under {:?}: {:?}", db.origin(), cd.connection().reason);
    /// }
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn ready(&self, within: Duration) -> bool {
        let Shared { managers, registry, .. } = &*self.inner.shared;
        if managers.is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            () = registry.all_settled() => true,
            () = Tokio.sleep(within) => false,
        }
    }

    /// What happens from now on: connections, policies, breakers.
    pub fn events(&self) -> Events {
        self.inner.shared.hub.listen()
    }

    /// How the SDK stands with its manager.
    pub fn connection(&self) -> Connection {
        self.inner.shared.link.look()
    }

    /// How the file does that keeps the last policies. `None`: there is [none](Builder::policy_dir).
    pub fn policy_file(&self) -> Option<PolicyFile> {
        self.inner.shared.file.as_ref().map(|file| file.look())
    }

    /// Names this process to the manager.
    pub fn instance_id(&self) -> &str {
        &self.inner.shared.identity.instance_id
    }

    /// Ends the stream: what has not been reported is, the manager is told goodbye, and what is in force is
    /// [kept](Builder::policy_dir). Waits some seconds at the most, for nothing where there is no stream.
    ///
    /// Calls can go on; they stay protected by the last policies, and temporary levels end on time. Dropping the last handle ends the stream as well,
    /// but nobody waits for it then, and a process that exits first takes its last report with it.
    pub async fn shutdown(&self) {
        let tasks = || self.inner.tasks.iter().filter(|task| !task.outlives_shutdown);
        tasks().for_each(|task| task.stop.cancel());
        let all_ended = async {
            for task in tasks() {
                // A task never sends: this ends, with an error, when the task does.
                let _ = task.ended.clone().changed().await;
            }
        };
        tokio::select! {
            () = all_ended => {}
            // The runtime that the tasks are on may stand still for good.
            () = Tokio.sleep(GOODBYE) => {}
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;
    use crate::runtime::clocks;
    use cofferdam_core::level::Level;
    use cofferdam_core::orders::{Orders, OrdersSpec, TemporaryLevel};
    use cofferdam_core::time::WallTime;

    #[test]
    fn a_shutdown_does_not_wait_for_a_runtime_that_stands_still() {
        let runtime = |is_paused| {
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(is_paused).build().unwrap()
        };
        let still = runtime(false);
        let cofferdam = {
            let _context = still.enter();
            Cofferdam::builder("checkout").manager("http://127.0.0.1:1").start()
        };
        let ended = async { tokio::time::timeout(Duration::from_secs(3600), cofferdam.shutdown()).await };
        assert!(runtime(true).block_on(ended).is_ok());
    }

    /// Has a service at level none for so long.
    fn suspend(cofferdam: &Cofferdam, service: &Service, time: Duration) {
        let until = clocks().wall.saturating_since(WallTime::default()) + time;
        let until = WallTime::after_1970(until);
        let level = TemporaryLevel { level: Level::None, until, actor: "alice".to_owned(), reason: String::new() };
        let orders = Orders::new(OrdersSpec { level: Some(level), ..OrdersSpec::default() }).unwrap();
        service.isolation().obey(orders, None, clocks());
        let registry = &cofferdam.shared().registry;
        registry.changed(&registry.service(service.name()));
    }

    #[test]
    fn a_temporary_level_ends_on_time_when_the_runtime_of_the_start_is_gone() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for has_begun in [false, true] {
            let first = runtime();
            let cofferdam = {
                let _context = first.enter();
                Cofferdam::builder("checkout").manager("http://127.0.0.1:1").start()
            };
            let service = cofferdam.service("prices");
            let lasting = service.policy().level;
            if has_begun {
                first.block_on(tokio::task::yield_now());
            }
            let mut events = cofferdam.events();
            suspend(&cofferdam, &service, Duration::from_millis(100));
            drop(first);
            let is_over = async { while !matches!(events.next().await.unwrap(), Event::TemporaryLevelOver { .. }) {} };
            let patience = Duration::from_secs(20);
            runtime().block_on(async { tokio::time::timeout(patience, is_over).await }).expect("it never ended");
            assert_eq!(service.policy().level, lasting);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_temporary_level_ends_on_time_after_a_shutdown() {
        let cofferdam = Cofferdam::builder("checkout").manager("http://127.0.0.1:1").start();
        let service = cofferdam.service("prices");
        let level_now = || service.isolation().in_force().policy.level;
        let lasting = level_now();
        suspend(&cofferdam, &service, Duration::from_secs(60));
        cofferdam.shutdown().await;
        assert_ne!(level_now(), lasting);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(level_now(), lasting);
    }
}
