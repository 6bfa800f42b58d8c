//! Clients at work, each of which notes what it was told.

use super::site::Site;
use cofferdam::{Cofferdam, Event};
use cofferdam_proto::v1::{IsolatedService, IsolationLevel, UpdateIsolationPolicyRequest};
use cofferdam_server::store::{EtcdOptions, EtcdStore, Store, StoreRevision, WatchEvent};
use cofferdam_tests::history::{
    Action, LogEntry, Operation, Outcome, Position, Recorder, SLOTS, Sighting, Value, patch, paths, value_of,
};
use cofferdam_tests::{Client, Numbers, Refusal, before_the_next_try, eventually, wire, within};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

/// SDKs, each of which goes to whichever manager is there.
const FOLLOWERS: usize = 3;

/// Attempts of a write under one request_id, before its outcome is left unknown.
const ATTEMPTS: usize = 200;

/// What everybody was told.
pub(super) struct Told {
    pub(super) operations: Vec<Operation>,
    /// What each SDK put in force, by the number of the SDK and the service.
    pub(super) followed: Vec<(usize, &'static str, Vec<Position>)>,
    pub(super) sightings: Vec<Sighting>,
    pub(super) unanswered: u64,
}

/// What all clients share.
#[derive(Debug, Default)]
struct Shared {
    services: &'static [&'static str],
    recorder: Recorder,
    stop: AtomicBool,
    unanswered: AtomicU64,
    acknowledged: watch::Sender<u64>,
}

pub(super) struct Load {
    shared: Arc<Shared>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    readers: Vec<JoinHandle<()>>,
    followers: Vec<Follower>,
    watch: Option<StoreWatch>,
}

/// What a watch on etcd has told.
struct StoreWatch {
    sightings: Arc<Mutex<Vec<Sighting>>>,
    _watching: AbortOnDropHandle<()>,
}

/// An SDK, and what it has put in force.
struct Follower {
    applied: Arc<Mutex<BTreeMap<String, Vec<Position>>>>,
    _cofferdam: Cofferdam,
    _listening: AbortOnDropHandle<()>,
}

impl Load {
    pub(super) async fn start(site: &Site, services: &'static [&'static str], numbers: &mut Numbers) -> Self {
        let shared = Arc::new(Shared { services, ..Shared::default() });
        let clients = site.clients();
        for service in services {
            register(&shared.recorder, &clients, service).await;
        }
        let seed = numbers.below(u64::MAX);
        let writer = |index: u8| {
            let numbers = Numbers::of(seed.wrapping_add(u64::from(index)));
            let writer = Writer { index, clients: clients.clone(), shared: Arc::clone(&shared), numbers };
            tokio::spawn(writer.run())
        };
        let reader = |(manager, client): (usize, &Client)| {
            tokio::spawn(read(usize::from(SLOTS) + manager, manager, client.clone(), Arc::clone(&shared)))
        };
        let writers = Mutex::new((0..SLOTS).map(writer).collect());
        let readers = clients.iter().enumerate().map(reader).collect();
        let followers = (0..FOLLOWERS).map(|index| Follower::start(index, &site.urls(), services)).collect();
        let watch = site.endpoints().map(|endpoints| {
            let sightings = Arc::<Mutex<Vec<Sighting>>>::default();
            let watching = tokio::spawn(follow_store(endpoints, Arc::clone(&sightings)));
            StoreWatch { sightings, _watching: AbortOnDropHandle::new(watching) }
        });
        Self { shared, writers, readers, followers, watch }
    }

    /// Waits until so many more writes are acknowledged: then others are under way. Each has the time that anything has, so
    /// that a slow disk, which has to take them one after the other, fails nobody.
    pub(super) async fn proceed(&self, writes: u64) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let goal = self.acknowledged() + writes;
        loop {
            let now = *acknowledged.borrow_and_update();
            if now >= goal {
                return;
            }
            within("the next acknowledged write", acknowledged.changed()).await.unwrap();
        }
    }

    pub(super) fn acknowledged(&self) -> u64 {
        *self.shared.acknowledged.borrow()
    }

    /// How many attempts got no answer so far.
    pub(super) fn unanswered(&self) -> u64 {
        self.shared.unanswered.load(Relaxed)
    }

    /// Waits until another attempt got no answer.
    pub(super) async fn some_unanswered(&self, before: u64) {
        eventually("an attempt without an answer", async || if self.unanswered() > before { Ok(()) } else { Err(()) })
            .await;
    }

    /// Lets the writers end what they are at.
    pub(super) async fn rest(&self) {
        self.shared.stop.store(true, Relaxed);
        let writers = std::mem::take(&mut *self.writers.lock().unwrap());
        for writer in writers {
            within("a writer", writer).await.unwrap();
        }
    }

    /// Where each follower of a service is.
    pub(super) fn followers_at(&self, service: &str) -> Vec<Option<Position>> {
        let last = |follower: &Follower| follower.applied.lock().unwrap().get(service)?.last().copied();
        self.followers.iter().map(last).collect()
    }

    /// Ends what is still going on, and returns all that was told.
    pub(super) async fn finish(self) -> Told {
        for reader in self.readers {
            within("a reader", reader).await.unwrap();
        }
        let mut followed = Vec::new();
        for (index, follower) in self.followers.iter().enumerate() {
            let applied = follower.applied.lock().unwrap();
            let of = |service: &&'static str| (index, *service, applied.get(*service).cloned().unwrap_or_default());
            followed.extend(self.shared.services.iter().map(of));
        }
        let sightings = self.watch.map(|watch| watch.sightings.lock().unwrap().clone()).unwrap_or_default();
        let unanswered = self.shared.unanswered.load(Relaxed);
        Told { operations: self.shared.recorder.operations(), followed, sightings, unanswered }
    }
}

impl Follower {
    fn start(index: usize, urls: &str, services: &[&str]) -> Self {
        let cofferdam = Cofferdam::builder("chaos").manager(urls).instance_id(format!("sdk-{index}")).start();
        let applied = Arc::<Mutex<BTreeMap<String, Vec<Position>>>>::default();
        let (mut events, noted) = (cofferdam.events(), Arc::clone(&applied));
        let listening = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::PolicyApplied { service, revision } => {
                        let mut noted = noted.lock().unwrap();
                        noted.entry(service.to_string()).or_default().push((revision.epoch, revision.revision));
                    }
                    Event::Missed { count } => panic!("{count} events were missed: nothing can be said of the order"),
                    _ => {}
                }
            }
        });
        for service in services {
            drop(cofferdam.service(service));
        }
        Self { applied, _cofferdam: cofferdam, _listening: AbortOnDropHandle::new(listening) }
    }
}

/// Registers a service with a stamp in each field, and waits until every manager shows it.
async fn register(recorder: &Recorder, clients: &[Client], service: &str) {
    let value: Value = (0..SLOTS).map(|slot| (slot, recorder.stamp())).collect();
    let request_id = format!("register-{service}");
    let request = cofferdam_proto::v1::RegisterServiceRequest {
        policy: Some(patch(&value)),
        request_id: request_id.clone(),
        ..wire::registration(service, IsolationLevel::Full)
    };
    let invoked = recorder.now();
    // These clients give up early. Under its id it is asked for until it is answered, and done once.
    let registered = eventually("the registration", async || {
        let registered = clients[0].register(request.clone()).await;
        registered.inspect_err(|refusal| assert!(!matches!(Failure::of(refusal), Failure::Mismatch(_)), "{refusal:?}"))
    })
    .await;
    recorder.record(Operation {
        client: 0,
        manager: 0,
        service: service.to_owned(),
        invoked,
        returned: recorder.now(),
        action: Action::Write { patch: value, expected: None, request_id },
        outcome: done(&registered),
    });
    for client in clients {
        eventually("every manager to show the service", async || client.info(service).await).await;
    }
}

fn done(service: &IsolatedService) -> Outcome {
    let at = wire::position(wire::revision(Some(service)));
    Outcome::Done { at, value: value_of(service.written_policy.as_ref()) }
}

/// What an attempt came to, where it was not done.
enum Failure {
    Mismatch(Position),
    NotDone,
    Unanswered,
}

impl Failure {
    fn of(refusal: &Refusal) -> Self {
        match (&refusal.reason[..], refusal.code) {
            ("REVISION_MISMATCH", _) => {
                Self::Mismatch((refusal.number("current_epoch"), refusal.number("current_revision")))
            }
            ("STORE_UNAVAILABLE" | "SHUTTING_DOWN", _) => Self::NotDone,
            ("STORE_OUTCOME_UNKNOWN", _) => Self::Unanswered,
            // The connection broke, or the time was up.
            ("", Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal) => {
                Self::Unanswered
            }
            _ => panic!("{refusal:?}"),
        }
    }
}

struct Writer {
    index: u8,
    clients: Vec<Client>,
    shared: Arc<Shared>,
    numbers: Numbers,
}

impl Writer {
    async fn run(mut self) {
        let mut known: BTreeMap<&str, Position> = BTreeMap::new();
        let mut last = None;
        while !self.shared.stop.load(Relaxed) {
            let services = self.shared.services;
            let service = services[self.below(services.len())];
            let stamp = self.shared.recorder.stamp();
            let value = Value::from([(self.index, stamp)]);
            let expected = known.get(service).copied().filter(|_| self.below(3) == 0);
            let request_id = if self.below(6) == 0 { String::new() } else { format!("chaos-{stamp}") };
            let request = UpdateIsolationPolicyRequest {
                service: service.to_owned(),
                policy: Some(patch(&value)),
                update_mask: Some(prost_types::FieldMask { paths: paths(&value) }),
                expected_revision: expected.map(|(epoch, revision)| cofferdam_proto::v1::Revision { epoch, revision }),
                request_id: request_id.clone(),
                ..UpdateIsolationPolicyRequest::default()
            };
            let invoked = self.shared.recorder.now();
            let (manager, outcome) = self.write(&request).await;
            match &outcome {
                Outcome::Done { at, .. } => {
                    known.insert(service, *at);
                    if !request_id.is_empty() {
                        last = Some((request, *at));
                    }
                    self.shared.acknowledged.send_modify(|count| *count += 1);
                }
                Outcome::Mismatch { current } => {
                    known.insert(service, *current);
                }
                Outcome::Refused | Outcome::Unknown => {}
            }
            self.shared.recorder.record(Operation {
                client: usize::from(self.index),
                manager,
                service: service.to_owned(),
                invoked,
                returned: self.shared.recorder.now(),
                action: Action::Write { patch: value, expected, request_id },
                outcome,
            });
            before_the_next_try().await;
        }
        // Whatever has gone wrong since, the same request gets the same answer.
        let (request, at) = last.expect("a writer that writes");
        let (_, again) = self.write(&request).await;
        assert!(
            matches!(again, Outcome::Done { at: again, .. } if again == at),
            "{request:?}, done at {at:?}: {again:?}"
        );
    }

    /// Asks until an answer comes, on one manager after the other, if the request has an id; else once.
    async fn write(&mut self, request: &UpdateIsolationPolicyRequest) -> (usize, Outcome) {
        let attempts = if request.request_id.is_empty() { 1 } else { ATTEMPTS };
        let mut manager = self.below(self.clients.len());
        let mut is_unknown = false;
        for _ in 0..attempts {
            match self.clients[manager].update_isolation_policy(request.clone()).await {
                Ok(answer) => return (manager, done(&answer.service.expect("the answer holds the service"))),
                Err(refusal) => match Failure::of(&refusal) {
                    Failure::Mismatch(current) => return (manager, Outcome::Mismatch { current }),
                    Failure::NotDone => {}
                    Failure::Unanswered => {
                        is_unknown = true;
                        self.shared.unanswered.fetch_add(1, Relaxed);
                    }
                },
            }
            manager = (manager + 1) % self.clients.len();
            before_the_next_try().await;
        }
        (manager, if is_unknown { Outcome::Unknown } else { Outcome::Refused })
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.numbers.below(bound as u64)).unwrap()
    }
}

/// Reads from one manager until told to stop.
async fn read(client: usize, manager: usize, source: Client, shared: Arc<Shared>) {
    for service in shared.services.iter().cycle() {
        let invoked = shared.recorder.now();
        let answer = source.info(service).await;
        let returned = shared.recorder.now();
        match answer {
            Ok(info) => shared.recorder.record(Operation {
                client,
                manager,
                service: (*service).to_owned(),
                invoked,
                returned,
                action: Action::Read,
                outcome: done(&info.service.expect("the answer holds the service")),
            }),
            Err(refusal) => assert!(!matches!(Failure::of(&refusal), Failure::Mismatch(_)), "{refusal:?}"),
        }
        if shared.stop.load(Relaxed) {
            return;
        }
        before_the_next_try().await;
    }
}

/// Watches all of the store from its first revision, by our own client, and again after each end.
async fn follow_store(endpoints: Vec<String>, sightings: Arc<Mutex<Vec<Sighting>>>) {
    let store = EtcdStore::new(EtcdOptions::new(endpoints)).expect("the endpoints are some");
    let mut last = StoreRevision::ZERO;
    loop {
        if let Ok(mut watch) = store.watch("", last).await {
            sightings.lock().unwrap().push(Sighting::Begun { after: last.get() });
            while let Some(told) = watch.next().await {
                let batch = match told {
                    Ok(batch) => batch,
                    Err(error) => {
                        assert!(!error.needs_list(), "nothing was compacted: {error}");
                        break;
                    }
                };
                last = batch.revision;
                let entry = |event| match event {
                    WatchEvent::Put(entry) => {
                        LogEntry { revision: last.get(), key: entry.key, value: Some(entry.value) }
                    }
                    WatchEvent::Delete { key, .. } => LogEntry { revision: last.get(), key, value: None },
                };
                let told = batch.events.into_iter().map(entry).collect();
                sightings.lock().unwrap().push(Sighting::Told(told));
            }
        }
        before_the_next_try().await;
    }
}
