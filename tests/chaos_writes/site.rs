//! Managers, their store, and the networks between them and to their clients.

use super::faults::{Fault, Kind, OF_ALL, OF_MANAGERS};
use super::load::Load;
use cofferdam_tests::history::{LogEntry, extend_by_embedded, log_of_etcd};
use cofferdam_tests::{Client, Etcd, FaultProxy, Manager, Store, eventually};
use std::time::Duration;

/// Managers on one etcd.
const MANAGERS: usize = 3;

/// How long a client waits for an answer. A pause lasts as long, so it is short; on a slow machine it only makes for more
/// retries.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many writes may pass before the log of an embedded store is read on: its own history is bounded.
const MAX_UNREAD: u64 = 2_000;

pub(super) struct Site {
    etcd: Option<Etcd>,
    managers: Vec<Manager>,
    /// Before each manager: its clients' network.
    fronts: Vec<FaultProxy>,
    /// Behind each manager: a network to each member of etcd.
    backs: Vec<Vec<FaultProxy>>,
    /// What an embedded store has told so far, and after how many writes.
    log: (Vec<LogEntry>, u64),
}

impl Site {
    pub(super) async fn embedded() -> Self {
        let manager = Manager::embedded().await;
        let fronts = vec![front(&manager).await];
        Self { etcd: None, managers: vec![manager], fronts, backs: Vec::new(), log: (Vec::new(), 0) }
    }

    pub(super) async fn on_etcd(nodes: usize) -> Self {
        let etcd = Etcd::start(nodes).await;
        let (mut managers, mut fronts, mut backs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MANAGERS {
            let back = behind(&etcd).await;
            let manager = Manager::start(Store::Etcd(endpoints(&back).join(","))).await;
            fronts.push(front(&manager).await);
            managers.push(manager);
            backs.push(back);
        }
        // One more, for the watch of our own.
        backs.push(behind(&etcd).await);
        Self { etcd: Some(etcd), managers, fronts, backs, log: (Vec::new(), 0) }
    }

    pub(super) fn is_on_etcd(&self) -> bool {
        self.etcd.is_some()
    }

    pub(super) fn kinds(&self) -> &'static [Kind] {
        if self.is_on_etcd() { &OF_ALL } else { &OF_MANAGERS }
    }

    pub(super) fn managers(&self) -> usize {
        self.managers.len()
    }

    pub(super) fn members(&self) -> usize {
        self.backs.first().map_or(0, Vec::len)
    }

    /// A client of each manager, in order, that gives up early.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.fronts.iter().map(|front| Client::patient(&front.url(), PATIENCE)).collect()
    }

    /// Where an SDK finds the managers.
    pub(super) fn urls(&self) -> String {
        let urls: Vec<_> = self.fronts.iter().map(FaultProxy::url).collect();
        urls.join(",")
    }

    /// Where a client of our own finds etcd.
    pub(super) fn endpoints(&self) -> Option<Vec<String>> {
        self.backs.last().map(|back| endpoints(back))
    }

    /// Lets something go wrong, and mends it.
    pub(super) async fn suffer(&mut self, fault: Fault, load: &Load) {
        let Fault { kind, manager, member } = fault;
        match kind {
            Kind::KillManager => {
                self.managers[manager].kill();
                self.read_on(load).await;
                self.managers[manager].restart().await;
            }
            Kind::PauseManager => {
                let before = load.unanswered();
                self.managers[manager].process().pause().await;
                load.some_unanswered(before).await;
                self.managers[manager].process().resume();
            }
            Kind::CutClients => {
                let before = self.fronts[manager].seen().reset;
                self.fronts[manager].reset();
                has_cut(std::slice::from_ref(&self.fronts[manager]), before).await;
            }
            Kind::KillStore => {
                self.etcd().kill(member);
                self.stand(load).await;
                self.etcd().restart(member).await;
            }
            Kind::PauseStore => {
                let before = load.unanswered();
                self.etcd().pause(member).await;
                if self.members() == 1 {
                    load.some_unanswered(before).await;
                } else {
                    self.stand(load).await;
                }
                self.etcd().resume(member);
            }
            Kind::CutStore => {
                // The watch of our own has no managers before it, and loses its connections with one of them.
                let backs = [manager, self.backs.len() - 1];
                for back in backs {
                    let before: u64 = self.backs[back].iter().map(|proxy| proxy.seen().reset).sum();
                    self.backs[back].iter().for_each(FaultProxy::reset);
                    has_cut(&self.backs[back], before).await;
                }
            }
            Kind::KillBoth => {
                self.managers[manager].kill();
                self.etcd().kill(member);
                self.etcd().restart(member).await;
                self.managers[manager].restart().await;
            }
        }
    }

    /// Ends everything, and returns what the store has ever held.
    pub(super) async fn end(&mut self) -> Vec<LogEntry> {
        self.managers.iter_mut().for_each(Manager::kill);
        match &self.etcd {
            Some(etcd) => log_of_etcd(etcd).await,
            None => {
                extend_by_embedded(&mut self.log.0, &self.managers[0]).await;
                std::mem::take(&mut self.log.0)
            }
        }
    }

    /// Where a majority is left, writes go on.
    async fn stand(&self, load: &Load) {
        if self.members() > 1 {
            load.proceed(1).await;
        }
    }

    /// Reads the log of an embedded store, before its own history has forgotten what was not read yet.
    async fn read_on(&mut self, load: &Load) {
        if self.etcd.is_none() && load.acknowledged() > self.log.1 + MAX_UNREAD {
            extend_by_embedded(&mut self.log.0, &self.managers[0]).await;
            self.log.1 = load.acknowledged();
        }
    }

    fn etcd(&mut self) -> &mut Etcd {
        self.etcd.as_mut().expect("a fault of etcd, where there is one")
    }
}

async fn front(manager: &Manager) -> FaultProxy {
    FaultProxy::start(manager.address().parse().unwrap()).await
}

async fn behind(etcd: &Etcd) -> Vec<FaultProxy> {
    let mut proxies = Vec::new();
    for member in etcd.endpoints().split(',') {
        proxies.push(FaultProxy::start(member.parse().unwrap()).await);
    }
    proxies
}

fn endpoints(back: &[FaultProxy]) -> Vec<String> {
    back.iter().map(|proxy| proxy.address().to_string()).collect()
}

/// Waits until a connection was cut indeed.
async fn has_cut(proxies: &[FaultProxy], before: u64) {
    eventually("a connection to be cut", async || {
        let now: u64 = proxies.iter().map(|proxy| proxy.seen().reset).sum();
        if now > before { Ok(()) } else { Err(now) }
    })
    .await;
}
