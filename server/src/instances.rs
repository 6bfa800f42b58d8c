//! The processes that hold a Sync stream: what they have in force and what they report.
//!
//! Counters are sums since this manager started and stay when an instance goes. What is a state rather than a count
//! (breaker, health, applied revision) belongs to its instance and goes with it. Nothing here outlives the manager or
//! reaches the store, and reading changes nothing.
//!
//! An instance is known by its `instance_id`. A second stream with the same id is the same process, come back before
//! its old connection was noticed to be dead: it takes the place of the first, which is ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use cofferdam_core::{
    adaptive_limit::Load,
    breaker::State,
    health::HealthStatus,
    isolation::Part,
    latency::LatencyHistogram,
    name::{Name, ServiceKey},
    revision::Revision,
    wire::PolicyHash,
};
use cofferdam_proto::v1;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::Activity,
    clock::SystemClock,
    error::Error,
    events::{Events, EventsOptions, News},
};

mod allowance;
mod census;
mod convergence;
mod elsewhere;
mod exposure;
mod history;
mod losses;
mod observation;
mod progress;
mod recovery;
mod rejections;
mod report;
mod session;
mod silent;
mod statistics;
mod tally;
mod transitions;

pub use self::census::Census;
pub use self::convergence::{LagState, Laggard, PutBack, Standing, Target};
pub use self::elsewhere::{Arrival, Stand};
pub use self::exposure::{Exposure, Presence};
pub use self::history::{LONGEST_WINDOW, Point};
pub use self::losses::Losses;
pub use self::observation::Observation;
pub use self::recovery::{Recoveries, Transition};
pub(crate) use self::rejections::newest as newest_rejections;
pub use self::report::Report;
pub use self::session::Session;
pub use self::statistics::Row;
pub use self::transitions::Transitions;

use self::history::History;
use self::progress::Progress;
use self::recovery::RecoveryLog;
use self::rejections::Rejections;
use self::silent::Silent;
use self::tally::Tally;

/// Instances that have to put a policy back before it is handed out no more, where there are so many.
const ENOUGH_TO_CONTAIN: u32 = 2;

/// Overrides for methods whose figures are kept of a service: more than any policy has.
const MAX_METHODS: usize = 128;

/// SDKs that are told apart.
const MAX_SDKS: usize = 100;

/// Services that instances name and nobody has registered, over all instances. A typing error makes one of them; more than
/// these is an application that makes up names.
const MAX_UNREGISTERED: usize = 50_000;

/// The instances of this manager.
#[derive(Debug)]
pub struct Instances {
    inner: Mutex<Inner>,
    max: usize,
    /// Counts changes of breaker states and health, at other managers, too.
    version: watch::Sender<u64>,
    /// Where it is told what they do.
    events: Arc<Events>,
    /// Counts those of them that were here.
    own_version: watch::Sender<u64>,
    /// Counts what instances say about policies, their coming and their going.
    progress: watch::Sender<u64>,
    /// Counts the streams that have begun.
    arrived: watch::Sender<u64>,
    made: Instant,
    /// When instances could first come.
    opened: OnceLock<Instant>,
    settling: Duration,
    max_history_bytes: usize,
    max_figures: usize,
    max_unregistered: usize,
    /// How long policies took to be put in force.
    apply_latency: LatencyHistogram,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, Connected>,
    services: HashMap<ServiceKey, Service>,
    /// How many of these were registered at no time when an instance named them.
    unregistered: usize,
    /// Instances whose stream broke off, by their id.
    silent: HashMap<String, Silent>,
    /// How services stand at the instances of other managers, by the manager's id.
    elsewhere: HashMap<String, HashMap<ServiceKey, Stand>>,
    last_session: u64,
    losses: Losses,
    /// Members whose own figures are kept.
    figures: usize,
}

#[derive(Debug)]
struct Connected {
    session: u64,
    /// Where it comes from. `None`: from no socket.
    from: Option<SocketAddr>,
    since: Instant,
    application: String,
    /// Empty until it has said it, or where it does not.
    sdk: Box<str>,
    namespace: Name,
    services: HashSet<ServiceKey>,
    ended: CancellationToken,
}

/// One that is only named takes some hundred bytes: there may be as many as there are typing errors.
#[derive(Debug, Default)]
struct Service {
    /// What instances reported of it, and this manager did. `None`: nothing.
    reported: Option<Box<Reported>>,
    /// In boxes, because a map makes room for eleven where there is one.
    members: BTreeMap<u64, Box<Member>>,
    /// How many members have which policy in force.
    progress: Progress,
    /// How many instances that used it are silent.
    silent: u32,
    tally: Tally,
    census: Census,
    here: OwnCalls,
    /// Whether it was registered when an instance last named it.
    is_registered: bool,
}

/// What is known of the calls to a service.
#[derive(Debug, Default)]
struct Reported {
    sums: Activity,
    /// What of them happened to methods that overrides are for, by glob.
    methods: BTreeMap<String, Activity>,
    history: History,
    recoveries: RecoveryLog,
    rejections: Rejections,
    losses: Losses,
}

/// One service at one instance.
#[derive(Clone, Debug, Default)]
struct Member {
    id: Arc<str>,
    applied: Option<(Revision, PolicyHash)>,
    refused: Option<Refusal>,
    now: Condition,
    /// The service's own breaker by its rules alone. `None`: none is in force, or it has not said.
    learned: Option<State>,
    /// Its breakers, the service's own and those of its parts, as far as they are not closed.
    parts: Vec<(Part, State)>,
    /// `None`: none is in force.
    adaptive_limit: Option<Load>,
    /// Breakers over which an operator's hold stands.
    held: u32,
    /// What happened there since its stream began.
    own: Option<Box<Activity>>,
    /// When it last reported.
    reported: Option<Instant>,
}

/// A policy that an instance would not put in force; the one before stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The policy's revision.
    pub revision: Revision,
    /// Why, in the instance's own words.
    pub reason: String,
    /// The field at fault, by its path in the policy; empty where it is not one field.
    pub field_path: String,
    /// When it was refused.
    pub since: Instant,
    /// Whether it was in force there, turned a working service's calls away, and was put back.
    pub is_contained: bool,
}

/// The least good of what is seen of a service: by instances, and by managers that call it themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The breaker; absent where nobody has one.
    pub breaker: Option<State>,
    /// The health; absent where nobody has called it.
    pub health: Option<HealthStatus>,
}

/// How the calls do that this manager makes itself. They count in no number of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnCalls {
    /// The least good of it.
    pub(crate) condition: Condition,
    /// Its breakers, the service's own and those of its parts, as far as they are not closed.
    pub(crate) parts: Vec<(Part, State)>,
}

impl Instances {
    /// No instance yet, and never more than `max` at once. Those that this manager had before a restart may take
    /// `settling` to come back.
    pub fn new(max: usize, settling: Duration) -> Self {
        Self {
            inner: Mutex::default(),
            max,
            version: watch::Sender::new(0),
            events: Arc::new(Events::new(Arc::new(SystemClock), EventsOptions::default())),
            own_version: watch::Sender::new(0),
            progress: watch::Sender::new(0),
            arrived: watch::Sender::new(0),
            made: Instant::now(),
            opened: OnceLock::new(),
            settling,
            max_history_bytes: statistics::MAX_HISTORY_BYTES,
            max_figures: statistics::MAX_FIGURES,
            max_unregistered: MAX_UNREGISTERED,
            apply_latency: LatencyHistogram::new(),
        }
    }

    /// From now on instances can come; before, since it was made.
    pub(crate) fn open(&self) {
        self.opened.get_or_init(Instant::now);
    }

    /// The same, with somewhere to tell what they do.
    pub(crate) fn telling(self, events: Arc<Events>) -> Self {
        Self { events, ..self }
    }

    /// Where it is told what they do.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// As [`connect_from`](Self::connect_from), from nowhere.
    #[cfg(test)]
    pub(crate) fn connect(self: &Arc<Self>, id: &str, application: &str, namespace: Name) -> Result<Session, Error> {
        self.connect_from(id, application, namespace, None)
    }

    /// Takes in an instance that comes from an address, and ends the session that had its id before.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] where there is no room.
    pub fn connect_from(
        self: &Arc<Self>,
        id: &str,
        application: &str,
        namespace: Name,
        from: Option<SocketAddr>,
    ) -> Result<Session, Error> {
        let mut inner = self.lock();
        if inner.by_id.len() >= self.max && !inner.by_id.contains_key(id) {
            return Err(Error::QuotaExceeded {
                quota: "instances",
                limit: self.max.to_string(),
                remedy: "connect to another manager, or raise limits.max_instances",
            });
        }
        let news = match (inner.by_id.get(id), inner.silent.get(id)) {
            (None, None) => Some(v1::InstanceChange::Came),
            (None, Some(silent)) if silent.is_told => Some(v1::InstanceChange::Returned),
            _ => None,
        };
        // What it used counts on, as silent, until it has said what it uses now: nobody must take it for gone.
        inner.depart(id, true, self.max);
        inner.last_session += 1;
        let session = inner.last_session;
        let ended = CancellationToken::new();
        if let Some(silent) = inner.silent.get_mut(id) {
            silent.is_told = false;
        }
        if let Some(change) = news {
            self.events.tell(News::instance(change, &namespace, id, application));
        }
        let connected = Connected {
            session,
            from,
            since: Instant::now(),
            application: application.to_owned(),
            sdk: Box::default(),
            namespace,
            services: HashSet::new(),
            ended: ended.clone(),
        };
        inner.by_id.insert(id.to_owned(), connected);
        self.arrived.send_replace(session);
        Ok(Session::new(Arc::clone(self), id.into(), session, ended))
    }

    /// How many instances are connected, in one namespace or in all.
    pub fn count(&self, namespace: Option<&Name>) -> usize {
        let inner = self.lock();
        match namespace {
            Some(namespace) => inner.by_id.values().filter(|connected| connected.namespace == *namespace).count(),
            None => inner.by_id.len(),
        }
    }

    /// How many instances are connected, by their SDK.
    pub fn sdks(&self) -> BTreeMap<String, u32> {
        let inner = self.lock();
        let mut counts = BTreeMap::<&str, u32>::new();
        for connected in inner.by_id.values() {
            let is_room = counts.len() < MAX_SDKS || counts.contains_key(&*connected.sdk);
            *counts.entry(if is_room { &*connected.sdk } else { "" }).or_default() += 1;
        }
        counts.into_iter().map(|(sdk, count)| (sdk.to_owned(), count)).collect()
    }

    /// How many instances are connected or expected back.
    pub fn known(&self) -> usize {
        let inner = self.lock();
        inner.by_id.len().saturating_add(inner.silent.len())
    }

    /// What instances have last refused of a service and not replaced since, by instance.
    pub fn refusals(&self, key: &ServiceKey) -> BTreeMap<String, Refusal> {
        let inner = self.lock();
        let Some(service) = inner.services.get(key) else {
            return BTreeMap::new();
        };
        let of = |connected: &Connected| service.members.get(&connected.session)?.refused.clone();
        let refusals = inner.by_id.iter().filter_map(|(id, connected)| Some((id.clone(), of(connected)?)));
        refusals.collect()
    }

    /// The least good of what instances report about a service and of what managers see that call it themselves, those of
    /// other managers included.
    pub fn condition(&self, key: &ServiceKey) -> Condition {
        self.stand(key).condition
    }

    /// The services that nobody follows any more, whose sums are still kept.
    pub fn abandoned(&self) -> Vec<ServiceKey> {
        let inner = self.lock();
        inner.services.iter().filter(|(_, service)| service.is_abandoned()).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets the sums of a service, unless somebody follows it by now.
    pub fn forget(&self, key: &ServiceKey) {
        self.lock().remove_if(key, Service::is_abandoned);
    }

    /// Counts changes of breaker states and health, here and at other managers: wakes those who wait for one.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Something has changed at the instances of this manager.
    fn own_changed(&self) {
        self.own_version.send_modify(|version| *version = version.wrapping_add(1));
        self.changed();
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    fn progressed(&self) {
        self.progress.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Nothing between two steps of a change can panic: a poisoned state is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The record of a service that an instance or this manager uses, made where there is none.
    fn service(&mut self, key: &ServiceKey, is_registered: bool) -> &mut Service {
        let unregistered = &mut self.unregistered;
        let service = self.services.entry(key.clone()).or_insert_with(|| {
            *unregistered += 1;
            Service::default()
        });
        if is_registered && !service.is_registered {
            service.is_registered = true;
            *unregistered -= 1;
        }
        service
    }

    /// Forgets a service of which this holds.
    fn remove_if(&mut self, key: &ServiceKey, holds: impl Fn(&Service) -> bool) {
        if self.services.get(key).is_some_and(holds)
            && let Some(service) = self.services.remove(key)
        {
            self.unregistered -= usize::from(!service.is_registered);
        }
    }
}

impl Service {
    /// What is known of its calls, to add to it.
    fn reported(&mut self) -> &mut Reported {
        self.reported.get_or_insert_default()
    }

    /// Whether nobody would miss it: nobody follows it, and nothing was counted.
    fn is_empty(&self) -> bool {
        self.is_abandoned() && self.reported.is_none() && self.here == OwnCalls::default()
    }

    fn put_back(&self, revision: Revision) -> PutBack {
        let has = |refusal: &Refusal| refusal.is_contained && refusal.revision == revision;
        let count = self.members.values().filter(|member| member.refused.as_ref().is_some_and(has)).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        PutBack { count: number(count), of: number(self.members.len()) }
    }

    /// The least good of what is seen of it at this manager.
    fn condition(&self) -> Condition {
        self.tally.condition().worse(self.here.condition)
    }

    fn is_abandoned(&self) -> bool {
        self.members.is_empty() && self.silent == 0
    }

    fn take_out(&mut self, session: u64) -> Option<Member> {
        let member = self.members.remove(&session)?;
        if self.members.is_empty() {
            // A map that has become empty keeps room for some.
            self.members = BTreeMap::new();
        }
        self.tally.remove(member.now, &member.parts);
        self.census.remove(member.learned);
        self.progress.remove(member.applied);
        Some(*member)
    }
}

impl Reported {
    /// Adds to the figures of methods. Those of overrides that policies have dropped go where there are too many: what they
    /// counted stays in the sums.
    fn record_methods(&mut self, methods: Vec<(String, Activity)>) {
        for (glob, activity) in methods {
            if self.methods.len() >= MAX_METHODS && !self.methods.contains_key(&glob) {
                self.methods.clear();
            }
            self.methods.entry(glob).or_default().merge(&activity);
        }
    }
}

#[cfg(test)]
mod tests;
