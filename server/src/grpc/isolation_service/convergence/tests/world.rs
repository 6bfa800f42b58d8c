//! A manager, its instances and what happens to them, one random step after the other.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use cofferdam_core::{name::ServiceKey, revision::Revision};
use cofferdam_proto::v1::{self, IsolationLevel};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    clients::{Client, Said, another_hash},
    model::{Id, Model, Service, Word},
    waits::Wait,
};
use crate::{
    error::Error,
    execute::{Executor, Fence},
    grpc::isolation_service::{IsolationApi, convergence::PAUSE},
    instances::{Instances, Refusal, Session},
    peers::{Local, Peers},
    registry::Registry,
    store::MemoryStore,
    testing::{FaultyStore, eventually, key, registration, registry},
};

const IDS: [Id; 6] = ["i0", "i1", "i2", "i3", "i4", "i5"];
pub(super) const SERVICES: [Service; 3] = ["a", "b", "c"];
const SETTLING: Duration = Duration::from_secs(10);
const LEVELS: [IsolationLevel; 3] = [IsolationLevel::Basic, IsolationLevel::Enhanced, IsolationLevel::Full];

/// What a manager may get wrong, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    LosesNacks,
    TakesNacksForAcks,
    /// An instance whose stream broke off is not expected back.
    TakesTheBrokenForGone,
    /// An instance whose stream broke off counts on as it was.
    KeepsTheBroken,
    /// A wait that took too long says that it is done.
    GivesUpAsDone,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) reached: u64,
    pub(super) timed_out: u64,
    pub(super) not_found: u64,
    refused: u64,
    diverged: u64,
    silent: u64,
    forgotten: u64,
    pub(super) converged: u64,
    restarts: u64,
    epochs: u64,
    replaced: u64,
}

impl Seen {
    fn counts(&mut self) -> [&mut u64; 11] {
        let Self {
            reached,
            timed_out,
            not_found,
            refused,
            diverged,
            silent,
            forgotten,
            converged,
            restarts,
            epochs,
            replaced,
        } = self;
        [reached, timed_out, not_found, refused, diverged, silent, forgotten, converged, restarts, epochs, replaced]
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = *other;
        self.counts().into_iter().zip(other.counts()).for_each(|(sum, count)| *sum += *count);
    }

    pub(super) fn is_everything(mut self) -> bool {
        self.counts().iter().all(|count| **count > 0)
    }
}

pub(super) struct World {
    random: StdRng,
    pub(super) bug: Option<Bug>,
    store: Arc<FaultyStore>,
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    pub(super) api: IsolationApi,
    drain: CancellationToken,
    pub(super) clients: Vec<Client>,
    pub(super) waits: Vec<Wait>,
    pub(super) model: Model,
    /// What was there to be asked for, once.
    past: Vec<(Service, Revision)>,
    levels: usize,
    pub(super) seen: Seen,
    /// What happened so far, where it is to be told.
    pub(super) history: Option<Vec<String>>,
}

impl World {
    pub(super) async fn new(seed: u64, bug: Option<Bug>, tells: bool) -> Self {
        let store = FaultyStore::new();
        let registry = Arc::new(registry(&store).await);
        let (instances, api, drain) = manager(&registry);
        let model = Model::new(Instant::now() + SETTLING);
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            bug,
            store,
            registry,
            instances,
            api,
            drain,
            clients: IDS.into_iter().map(Client::new).collect(),
            waits: Vec::new(),
            model,
            past: Vec::new(),
            levels: 0,
            seen: Seen::default(),
            history: tells.then(Vec::new),
        };
        world.write("a").await;
        world.write("b").await;
        world
    }

    /// Lets something happen and compares. What is not as it should be.
    pub(super) async fn step(&mut self) -> Result<(), String> {
        let index = self.random.random_range(0..self.clients.len());
        let service = *SERVICES.choose(&mut self.random).unwrap();
        match self.random.random_range(0..100) {
            0..=13 => self.connect(index)?,
            14..=32 => self.hear(index, false),
            33..=51 => self.say(index),
            52..=55 => self.contain(index),
            56..=60 => self.ask_for(index, service),
            61..=64 => self.break_off(index),
            65..=66 => self.leave(index),
            67..=69 => self.echo_of_the_dead(index),
            70..=78 => self.write(service).await,
            79 => self.unregister(service).await,
            80..=87 => self.wait(service),
            88..=92 => self.catch_up(),
            93..=96 => self.let_time_pass().await,
            97..=98 => self.restart().await?,
            _ => self.begin_epoch().await,
        }
        self.check()?;
        // A wait does not look more often than that.
        tokio::time::advance(PAUSE * 2).await;
        self.look_at_waits()
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        if let Some(history) = &mut self.history {
            history.push(what.to_string());
        }
    }

    /// An instance opens a stream; where it has one, the manager has not noticed that this one is dead.
    fn connect(&mut self, index: usize) -> Result<(), String> {
        let client = &mut self.clients[index];
        if client.session.is_some() && self.random.random_bool(0.7) {
            return Ok(());
        }
        if let Some(old) = client.disconnect() {
            client.stale.push(old);
            self.seen.replaced += 1;
        }
        client.uses = SERVICES.into_iter().filter(|_| self.random.random_bool(0.6)).collect();
        let (id, uses) = (client.id, client.uses.clone());
        let session = self.instances.connect(id, "shop", key("default/a").namespace).unwrap();
        self.model.connect(id);
        self.note(format_args!("{id} connects and uses {uses:?}"));
        self.check()?;
        let keys: Vec<_> = uses.iter().map(|service| of(service)).collect();
        session.follow(keys.iter().map(|key| (key, true))).unwrap();
        self.model.follow(id, uses.iter().copied());
        let client = &mut self.clients[index];
        for service in uses {
            let current = self.model.policies.get(service).copied();
            match current {
                Some(policy) if client.in_force.get(service) == Some(&policy) => {
                    session.applied(&of(service), policy.0, policy.1);
                    self.model.say(id, service, Word::Ack(policy));
                }
                current => drop(client.inbox.insert(service, current)),
            }
        }
        client.session = Some(session);
        Ok(())
    }

    fn hear(&mut self, index: usize, is_willing: bool) {
        let client = &mut self.clients[index];
        if let Some(said) = client.hear(&mut self.random, is_willing) {
            let id = client.id;
            self.note(format_args!("{id} will say {said:?}"));
        }
    }

    /// The manager hears the next word of an instance.
    fn say(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let id = client.id;
        let (Some(session), Some(said)) = (&client.session, client.outbox.pop_front()) else { return };
        match said {
            Said::Ack(service, policy) => {
                session.applied(&of(service), policy.0, policy.1);
                self.model.say(id, service, Word::Ack(policy));
                self.seen.diverged += u64::from(policy.1 == another_hash());
            }
            Said::Nack(service, revision) => {
                match self.bug {
                    Some(Bug::LosesNacks) => {}
                    Some(Bug::TakesNacksForAcks) => {
                        let hash = self.model.policies.get(service).map_or_else(another_hash, |policy| policy.1);
                        session.applied(&of(service), revision, hash);
                    }
                    _ => refuse(session, service, revision),
                }
                self.model.say(id, service, Word::Nack(revision));
                self.seen.refused += 1;
            }
            Said::Follow(service) => {
                session.follow([(&of(service), true)]).unwrap();
                self.model.follow(id, [service]);
                client.inbox.insert(service, self.model.policies.get(service).copied());
            }
            Said::Unfollow(service) => {
                session.unfollow(&of(service));
                self.model.unfollow(id, service);
                client.inbox.remove(service);
            }
        }
        self.note(format_args!("{id} says {said:?}"));
    }

    fn contain(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.session.is_some()
            && let Some(said) = client.contain(&mut self.random)
        {
            let id = client.id;
            self.note(format_args!("{id} takes back what it had applied and will say {said:?}"));
        }
    }

    /// An instance uses one more service, or one less.
    fn ask_for(&mut self, index: usize, service: Service) {
        let client = &mut self.clients[index];
        if client.session.is_some() {
            let is_new = client.uses.insert(service);
            if !is_new {
                client.uses.remove(service);
            }
            client.outbox.push_back(if is_new { Said::Follow(service) } else { Said::Unfollow(service) });
        }
    }

    fn break_off(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let id = client.id;
        let Some(session) = client.disconnect() else { return };
        match self.bug {
            Some(Bug::TakesTheBrokenForGone) => session.says_goodbye(),
            Some(Bug::KeepsTheBroken) => return self.lose(index, session),
            _ => {}
        }
        drop(session);
        self.model.break_off(id);
        self.seen.silent += 1;
        self.note(format_args!("{id} breaks off"));
    }

    /// What [`Bug::KeepsTheBroken`] does.
    fn lose(&mut self, index: usize, session: Session) {
        self.clients[index].stale.push(session);
        self.model.break_off(IDS[index]);
    }

    fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let id = client.id;
        let Some(session) = client.disconnect() else { return };
        session.says_goodbye();
        drop(session);
        self.model.leave(id);
        self.note(format_args!("{id} says goodbye"));
    }

    /// A stream whose place another one took says something, or ends: nothing comes of it.
    fn echo_of_the_dead(&mut self, index: usize) {
        let stale = &mut self.clients[index].stale;
        let (Some(session), Some((service, policy))) = (stale.pop(), self.model.policies.first_key_value()) else {
            return;
        };
        match self.random.random_range(0..4) {
            0 => session.applied(&of(service), policy.0, policy.1),
            1 => refuse(&session, service, policy.0),
            2 => session.unfollow(&of(service)),
            _ => session.says_goodbye(),
        }
        self.note(format_args!("{}'s old stream stirs and ends", session.instance_id()));
    }

    /// A new policy of a service, which is registered where it was not.
    async fn write(&mut self, service: Service) {
        self.levels += 1;
        let level = LEVELS[self.levels % LEVELS.len()].into();
        if self.model.policies.contains_key(service) {
            let request = v1::SetIsolationLevelRequest { service: service.to_owned(), level, ..Default::default() };
            self.registry.set_level(request).await.unwrap();
        } else {
            self.registry.register(v1::RegisterServiceRequest { level, ..registration(service) }).await.unwrap();
        }
        let registered = self.registry.get(&of(service)).unwrap();
        let policy = (registered.revision(), registered.policy_hash());
        if self.model.policies.insert(service, policy) == Some(policy) {
            return;
        }
        self.past.push((service, policy.0));
        self.tell(service);
        self.note(format_args!("{service} is at {}", policy.0));
    }

    async fn unregister(&mut self, service: Service) {
        if self.model.policies.remove(service).is_some() {
            let request = v1::UnregisterServiceRequest { service: service.to_owned(), ..Default::default() };
            self.registry.unregister(request).await.unwrap();
            self.tell(service);
            self.note(format_args!("{service} is unregistered"));
        }
    }

    /// The present policy is in the mailbox of all who follow it.
    fn tell(&mut self, service: Service) {
        let followers = self.model.followers(service);
        for client in self.clients.iter_mut().filter(|client| followers.contains(&client.id)) {
            if client.session.is_some() {
                client.inbox.insert(service, self.model.policies.get(service).copied());
            }
        }
    }

    fn wait(&mut self, service: Service) {
        let service = self.random.random_bool(0.8).then_some(service);
        let asked = service.and_then(|service| self.earlier(service));
        let wait = Wait::begin(&self.api, &mut self.random, service, asked);
        self.note(format_args!("{wait:?}"));
        self.waits.push(wait);
    }

    /// A revision that the service had once, half of the time.
    pub(super) fn earlier(&mut self, service: Service) -> Option<Revision> {
        let past: Vec<_> = self.past.iter().filter(|(other, _)| *other == service).map(|(_, at)| *at).collect();
        past.choose(&mut self.random).copied().filter(|_| self.random.random_bool(0.5))
    }

    /// All who are connected apply what they hear and say what they have to say.
    fn catch_up(&mut self) {
        for index in 0..self.clients.len() {
            while !self.clients[index].inbox.is_empty() || !self.clients[index].outbox.is_empty() {
                self.hear(index, true);
                self.say(index);
            }
        }
    }

    async fn let_time_pass(&mut self) {
        let time = Duration::from_secs(*[1, 10, 97, 300].choose(&mut self.random).unwrap());
        tokio::time::advance(time).await;
        let before = self.instances.known();
        self.instances.forget_silent();
        self.seen.forgotten += (before - self.instances.known()) as u64;
        self.model.forget_silent();
        self.instances.abandoned().iter().for_each(|key| self.instances.forget(key));
        self.note(format_args!("{time:?} pass"));
    }

    /// The manager dies and starts again on the same store.
    async fn restart(&mut self) -> Result<(), String> {
        self.drain.cancel();
        for mut wait in self.waits.drain(..) {
            match wait.look() {
                Some(Err(Error::ShuttingDown)) => {}
                other => return Err(format!("a manager that stops said {other:?} to {wait:?}")),
            }
        }
        for client in &mut self.clients {
            drop(client.disconnect());
            client.stale.clear();
        }
        self.registry = Arc::new(registry(&self.store).await);
        (self.instances, self.api, self.drain) = manager(&self.registry);
        self.model.restart(Instant::now() + SETTLING);
        self.seen.restarts += 1;
        self.note(format_args!("the manager starts again"));
        Ok(())
    }

    /// The store is another one, which is empty.
    async fn begin_epoch(&mut self) {
        let before = self.registry.head().epoch;
        self.store.swap(MemoryStore::new());
        eventually(&self.registry, || self.registry.head().epoch > before).await;
        self.model.policies.clear();
        SERVICES.into_iter().for_each(|service| self.tell(service));
        self.seen.epochs += 1;
        self.note(format_args!("a new epoch begins"));
    }
}

fn manager(registry: &Arc<Registry>) -> (Arc<Instances>, IsolationApi, CancellationToken) {
    let instances = Arc::new(Instances::new(100, SETTLING));
    let executor = Arc::new(Executor::new(Arc::clone(registry), Fence::loopback_except(Vec::new())));
    let drain = CancellationToken::new();
    let local = Local::new(Arc::clone(registry), Arc::clone(&instances), executor);
    let api = IsolationApi::new(local, Peers::alone(), drain.clone());
    (instances, api, drain)
}

fn of(service: Service) -> ServiceKey {
    static KEYS: LazyLock<[ServiceKey; 3]> =
        LazyLock::new(|| SERVICES.map(|service| key(&format!("default/{service}"))));
    KEYS.iter().find(|key| key.name.as_str() == service).unwrap().clone()
}

fn refuse(session: &Session, service: Service, revision: Revision) {
    let (reason, field_path) = ("no".to_owned(), String::new());
    let refusal = Refusal { revision, reason, field_path, since: Instant::now(), is_contained: false };
    session.refused(&of(service), refusal, None);
}
