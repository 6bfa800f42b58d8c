//! F9: an etcd that is wiped, another one, or an older copy of itself, with managers up and with all of them started anew.
//! Each time revisions start a new epoch, every process gets everything anew, and the next policy is applied.

use cofferdam::{Cofferdam, Service};
use cofferdam_proto::v1::{IsolationLevel, RegisterServiceRequest, Revision};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Client, Curl, Etcd, Manager, eventually};
use tempfile::TempDir;

const SERVICE: &str = "orders-db";
/// What a manager says that was there before.
const SWAPPED: &str = "the store was restored or swapped";
/// Registered after the copy was made.
const LATER: &str = "later";

/// Waits until a process has this revision in force.
async fn has(service: &Service, written: Revision) {
    eventually("the policy to be applied", async || {
        let seen = service.revision().map(|revision| (revision.epoch, revision.revision));
        if seen == Some((written.epoch, written.revision)) { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn set(client: &Client, level: IsolationLevel) -> Revision {
    eventually("a write", async || client.set_level(SERVICE, level).await).await.revision.unwrap()
}

/// A write may have to be made again while a manager catches up with another etcd.
async fn register(client: &Client, request: &RegisterServiceRequest) -> Revision {
    let registered = eventually("a registration", async || client.register(request.clone()).await).await;
    registered.revision.unwrap()
}

/// An etcd, a manager and a process that is in step, and a copy of the etcd from before its last changes.
struct Scene {
    etcd: Etcd,
    manager: Manager,
    older: TempDir,
    _cofferdam: Cofferdam,
    service: Service,
    later: Service,
    before: Revision,
}

impl Scene {
    async fn start() -> Self {
        let mut etcd = Etcd::start(1).await;
        let manager = Manager::on(&etcd).await;
        let client = manager.client();
        client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
        etcd.kill(0);
        let older = etcd.copy(0);
        etcd.restart(0).await;
        let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
        let (service, later) = (cofferdam.service(SERVICE), cofferdam.service(LATER));
        has(&later, register(&client, &registration(LATER, IsolationLevel::Full)).await).await;
        set(&client, IsolationLevel::Full).await;
        let before = set(&client, IsolationLevel::Enhanced).await;
        has(&service, before).await;
        Self { etcd, manager, older, _cofferdam: cofferdam, service, later, before }
    }

    /// Waits for the new epoch, and for a new policy to be applied in it. The manager counts it, and warns where
    /// it is the one that began it.
    async fn goes_on(&mut self, warning: Option<&str>) {
        let client = self.manager.client();
        eventually("a new epoch", async || {
            let shown = register(&client, &registration(SERVICE, IsolationLevel::Basic)).await;
            if shown.epoch > self.before.epoch { Ok(()) } else { Err(shown) }
        })
        .await;
        let written = set(&client, IsolationLevel::Full).await;
        assert!(written.epoch > self.before.epoch);
        has(&self.service, written).await;
        eventually("what the store does not know to be gone", async || match self.later.revision() {
            None => Ok(()),
            seen => Err(seen),
        })
        .await;
        let metrics = Curl::at(self.manager.url()).ask(&[], "/metrics").body;
        let mut counted = metrics.lines().filter(|line| line.starts_with("cofferdam_store_epoch_changes_total"));
        let changes = counted.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(changes.is_some_and(|changes| changes >= 1.0), "{changes:?} in {metrics}");
        let log = self.manager.process().log();
        assert!(warning.is_none_or(|warning| log.contains(warning)), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_etcd_begins_an_epoch() {
    let mut scene = Scene::start().await;
    scene.etcd.kill(0);
    scene.etcd.replace(0, None);
    scene.etcd.restart(0).await;
    scene.goes_on(Some(SWAPPED)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_begins_an_epoch_where_managers_were_up() {
    let mut scene = Scene::start().await;
    scene.etcd.kill(0);
    scene.etcd.replace(0, Some(&scene.older));
    scene.etcd.restart(0).await;
    scene.goes_on(Some(SWAPPED)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_begins_an_epoch_where_processes_alone_have_seen_more() {
    let mut scene = Scene::start().await;
    scene.manager.kill();
    scene.etcd.kill(0);
    scene.etcd.replace(0, Some(&scene.older));
    scene.etcd.restart(0).await;
    scene.manager.restart().await;
    scene.goes_on(Some("an instance has a policy that this store never had")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_etcd_begins_an_epoch() {
    let mut scene = Scene::start().await;
    let mut other = Etcd::start(1).await;
    let elsewhere = Manager::on(&other).await;
    elsewhere.client().register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    drop(elsewhere);
    other.kill(0);
    scene.etcd.kill(0);
    scene.etcd.replace(0, Some(&other.copy(0)));
    scene.etcd.restart(0).await;
    // Its epoch is later than ours, and taken over.
    scene.goes_on(None).await;
}
