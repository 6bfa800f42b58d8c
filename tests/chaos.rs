//! Chaos: in every round something else goes wrong, and the manager says exactly who has the change in force, and who has
//! not and why, as the clients themselves say it.
//!
//! A manager process, SDKs that each reach it by a network of their own, applications in processes of their own, and
//! clients that refuse what they are sent. A round kills some with SIGKILL, cuts, blackholes or partitions some, has some
//! refuse, perhaps kills the manager, and changes the level. A run is its seed as far as what goes wrong is concerned:
//! it is printed, and `COFFERDAM_TEST_SEED=n` repeats it. `COFFERDAM_LONG=1` is the long form, of a thousand rounds.

use crate::sync_fleet::caller;
use cofferdam::{Cofferdam, Revision, Service};
use cofferdam_proto::v1::sync_request::Message as Request;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::wait_for_convergence_request::Quorum;
use cofferdam_proto::v1::{
    GetConvergenceRequest, InstanceSyncState, IsolatedService, IsolationLevel, PolicyAck, PolicyNack,
    ServiceConvergence, WaitForConvergenceRequest,
};
use cofferdam_tests::wire::{millis, position, registration, revision};
use cofferdam_tests::{
    Behaviour, Client, Direction, Fault, FaultProxy, Follower, Manager, Numbers, Process, Seen, Upstream, eventually,
};
use std::collections::BTreeMap;

const SERVICE: &str = "orders-db";
const SDKS: usize = 8;
const FOLLOWERS: usize = 2;
const PROCESSES: usize = 2;
const ROUNDS: usize = 10;
const LONG_ROUNDS: usize = 1_000;
const LEVELS: [IsolationLevel; 3] = [IsolationLevel::Full, IsolationLevel::Enhanced, IsolationLevel::Basic];

/// What is wrong with a client in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Its connection ends, in good order or not, and it comes back.
    Cut,
    Reset,
    /// Nothing gets through one way.
    Blackhole(Direction),
    /// It can neither keep nor make a connection.
    Partition,
}

/// Where a client is to stand.
type Stand = InstanceSyncState;

/// An application with an SDK, behind a network of its own.
struct Sdk {
    id: String,
    network: FaultProxy,
    service: Service,
    _cofferdam: Cofferdam,
    before: Seen,
}

impl Sdk {
    async fn start(manager: &Manager, index: usize) -> Self {
        let id = format!("sdk-{index}");
        let network = FaultProxy::start(manager.address().parse().unwrap()).await;
        let cofferdam = Cofferdam::builder("chaos").manager(network.url()).instance_id(&id).start();
        let (service, before) = (cofferdam.service(SERVICE), network.seen());
        Self { id, network, service, _cofferdam: cofferdam, before }
    }

    fn is_at(&self, newest: &IsolatedService) -> bool {
        let at = revision(Some(newest));
        self.service.revision() == Some(Revision { epoch: at.epoch, revision: at.revision })
    }

    fn go_wrong(&mut self, wrong: Wrong) {
        self.before = self.network.seen();
        match wrong {
            Wrong::Nothing => {}
            Wrong::Cut => self.network.cut(),
            Wrong::Reset => self.network.reset(),
            Wrong::Blackhole(way) => self.network.set(Fault::Blackhole(way)),
            Wrong::Partition => {
                self.network.refuse(true);
                self.network.reset();
            }
        }
    }

    /// Waits until it went wrong indeed.
    async fn has_gone_wrong(&self, wrong: Wrong) {
        eventually("a fault to happen", async || {
            let (seen, before) = (self.network.seen(), self.before);
            let has_happened = match wrong {
                Wrong::Nothing => true,
                Wrong::Cut => seen.cut > before.cut,
                Wrong::Reset => seen.reset > before.reset,
                Wrong::Blackhole(_) => seen.held_back > before.held_back,
                Wrong::Partition => seen.reset > before.reset && seen.refused > before.refused,
            };
            if has_happened { Ok(()) } else { Err((wrong, seen)) }
        })
        .await;
    }

    fn heal(&self) {
        self.network.set(Fault::None);
        self.network.refuse(false);
    }
}

/// Takes in what it is sent, up to this, and says that it has it in force, or why not.
async fn answer(follower: &mut Follower, newest: &IsolatedService, is_willing: bool) {
    let newest_at = position(revision(Some(newest)));
    loop {
        let Ok(Response::Update(update)) = follower.next().await else { panic!("no update") };
        if position(update.revision.unwrap()) < newest_at {
            continue;
        }
        let (service, revision) = (SERVICE.to_owned(), update.revision);
        let word = if is_willing {
            Request::Ack(PolicyAck { service, revision, policy_hash: update.policy_hash })
        } else {
            Request::Nack(PolicyNack { service, revision, reason: "chaos".to_owned(), ..Default::default() })
        };
        return follower.say(word).await;
    }
}

async fn convergence(client: &Client) -> Option<ServiceConvergence> {
    let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
    Some(client.get_convergence(request).await.ok()?.convergence?.services.remove(0))
}

/// Waits until the manager says of everybody what is so; those who are done are not named.
async fn says(client: &Client, stands: &BTreeMap<String, Stand>) {
    let laggards: BTreeMap<_, _> =
        stands.iter().filter(|(_, stand)| **stand != Stand::Applied).map(|(id, stand)| (id.clone(), *stand)).collect();
    eventually("the manager to say what is so", async || {
        let seen = convergence(client).await.ok_or(None)?;
        let named: BTreeMap<_, _> = seen.laggards.iter().map(|lag| (lag.instance_id.clone(), lag.state())).collect();
        let is_exact = named == laggards
            && seen.instances as usize == stands.len()
            && seen.applied as usize == stands.len() - laggards.len()
            && seen.instances == seen.applied + seen.pending + seen.refused + seen.silent;
        if is_exact { Ok(()) } else { Err(Some((seen, laggards.clone()))) }
    })
    .await;
}

/// Whether all who are known have it in force.
async fn is_done(client: &Client, instances: usize) -> bool {
    let (service, quorum) = (SERVICE.to_owned(), Some(Quorum::Count(u32::try_from(instances).unwrap())));
    let request = WaitForConvergenceRequest { service, quorum, timeout: Some(millis(30)), ..Default::default() };
    client.wait_for_convergence(request).await.unwrap().reached
}

struct Chaos {
    numbers: Numbers,
    upstream: Upstream,
    manager: Manager,
    client: Client,
    sdks: Vec<Sdk>,
    followers: Vec<Follower>,
    processes: Vec<Process>,
    rounds: usize,
}

impl Chaos {
    async fn begin(numbers: Numbers) -> Self {
        let upstream = Upstream::start(Behaviour::echo()).await;
        let manager = Manager::embedded().await;
        let client = manager.client();
        let first = client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
        let mut sdks = Vec::new();
        for index in 0..SDKS {
            sdks.push(Sdk::start(&manager, index).await);
        }
        let mut processes = Vec::new();
        for index in 0..PROCESSES {
            processes.push(caller(&manager.url(), &process(index), SERVICE, &upstream).await);
        }
        let followers = Vec::new();
        let mut chaos = Self { numbers, upstream, manager, client, sdks, followers, processes, rounds: 0 };
        chaos.follow(&first, [true; FOLLOWERS]).await;
        says(&chaos.client, &stands(|_| Some(Stand::Applied))).await;
        chaos
    }

    /// Opens the streams of those who refuse at times.
    async fn follow(&mut self, newest: &IsolatedService, are_willing: [bool; FOLLOWERS]) {
        self.followers.clear();
        for (index, is_willing) in are_willing.into_iter().enumerate() {
            let mut follower = Follower::open(&self.manager).await;
            follower.say(Request::Hello(cofferdam_tests::hello(&self::follower(index), &[SERVICE]))).await;
            answer(&mut follower, newest, is_willing).await;
            assert!(matches!(follower.next().await, Ok(Response::Complete(_))));
            self.followers.push(follower);
        }
    }

    async fn round(&mut self) {
        let wrongs: [Wrong; SDKS] = std::array::from_fn(|_| match self.numbers.below(8) {
            0 => Wrong::Cut,
            1 => Wrong::Reset,
            2 => Wrong::Blackhole(Direction::ToClient),
            3 => Wrong::Blackhole(Direction::ToServer),
            4 => Wrong::Partition,
            _ => Wrong::Nothing,
        });
        let are_willing: [bool; FOLLOWERS] = std::array::from_fn(|_| self.numbers.below(3) > 0);
        let are_killed: [bool; PROCESSES] = std::array::from_fn(|_| self.numbers.below(4) == 0);
        let restarts = self.numbers.below(4) == 0;

        for (sdk, wrong) in self.sdks.iter_mut().zip(wrongs) {
            sdk.go_wrong(wrong);
        }
        for (process, _) in self.processes.iter_mut().zip(are_killed).filter(|(_, is_killed)| *is_killed) {
            process.kill();
        }
        self.rounds += 1;
        let newest = self.client.set_level(SERVICE, LEVELS[self.rounds % LEVELS.len()]).await.unwrap();
        for (sdk, wrong) in self.sdks.iter().zip(wrongs) {
            sdk.has_gone_wrong(wrong).await;
        }
        if restarts {
            self.manager.kill();
            self.manager.restart().await;
            self.client = self.manager.client();
            self.follow(&newest, are_willing).await;
        } else {
            for (follower, is_willing) in self.followers.iter_mut().zip(are_willing) {
                answer(follower, &newest, is_willing).await;
            }
        }

        // Whom a manager has not seen since it started, it does not know.
        let unless_unknown = |stand| (!restarts).then_some(stand);
        let expected = stands(|who| match who {
            Who::Sdk(index) => match wrongs[index] {
                Wrong::Nothing | Wrong::Cut | Wrong::Reset => Some(Stand::Applied),
                Wrong::Blackhole(_) => unless_unknown(Stand::Pending),
                Wrong::Partition => unless_unknown(Stand::Silent),
            },
            Who::Follower(index) => Some(if are_willing[index] { Stand::Applied } else { Stand::Refused }),
            Who::Process(index) if are_killed[index] => unless_unknown(Stand::Silent),
            Who::Process(_) => Some(Stand::Applied),
        });
        says(&self.client, &expected).await;
        for sdk in &self.sdks {
            if expected.get(&sdk.id) == Some(&Stand::Applied) {
                assert!(sdk.is_at(&newest), "{} counts as done with {:?}", sdk.id, sdk.service.revision());
            }
        }
        let is_all = expected.values().all(|stand| *stand == Stand::Applied);
        assert_eq!(is_done(&self.client, expected.len()).await, is_all, "{expected:?}");
        self.heal(&newest, are_willing, are_killed).await;
    }

    /// What went wrong ends, and everybody comes round.
    async fn heal(&mut self, newest: &IsolatedService, are_willing: [bool; FOLLOWERS], are_killed: [bool; PROCESSES]) {
        self.sdks.iter().for_each(Sdk::heal);
        for (index, is_killed) in are_killed.into_iter().enumerate() {
            if is_killed {
                self.processes[index] = caller(&self.manager.url(), &process(index), SERVICE, &self.upstream).await;
            }
        }
        let healed = stands(|who| match who {
            Who::Follower(index) if !are_willing[index] => Some(Stand::Refused),
            _ => Some(Stand::Applied),
        });
        says(&self.client, &healed).await;
        assert!(self.sdks.iter().all(|sdk| sdk.is_at(newest)));
    }
}

#[derive(Clone, Copy)]
enum Who {
    Sdk(usize),
    Follower(usize),
    Process(usize),
}

fn follower(index: usize) -> String {
    format!("follower-{index}")
}

fn process(index: usize) -> String {
    format!("process-{index}")
}

/// Where everybody stands whom the manager knows.
fn stands(of: impl Fn(Who) -> Option<Stand>) -> BTreeMap<String, Stand> {
    let sdks = (0..SDKS).map(|index| (format!("sdk-{index}"), of(Who::Sdk(index))));
    let followers = (0..FOLLOWERS).map(|index| (follower(index), of(Who::Follower(index))));
    let processes = (0..PROCESSES).map(|index| (process(index), of(Who::Process(index))));
    sdks.chain(followers).chain(processes).filter_map(|(id, stand)| Some((id, stand?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_the_manager_says_who_is_done_as_the_clients_do() {
    let rounds = if std::env::var_os("COFFERDAM_LONG").is_some() { LONG_ROUNDS } else { ROUNDS };
    let mut chaos = Chaos::begin(Numbers::seeded()).await;
    for _ in 0..rounds {
        chaos.round().await;
    }
}
