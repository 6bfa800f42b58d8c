//! `cofferdam.v1.PeerService`: this manager's part, for the others that share its store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cofferdam_core::wire::{duration_from_wire, duration_to_wire};
use cofferdam_proto::v1::{self, peer_service_server::PeerService};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    SyncOptions,
    isolation_service::{DEFAULT_HISTORY, MAX_PAGE, instance_to_wire, read_window, service_standing},
};
use crate::{
    error::Error,
    events::{Events, Filter, Page},
    instances::{Instances, Target},
    peers::{Local, Peers, TotalScope, arrival_to_wire, stand_to_wire, target_from_wire},
    registry::validate,
};

/// How long news is collected before it is told.
const TOGETHER: Duration = Duration::from_millis(50);

/// How often there is a message, at least.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The most targets of one question.
pub(super) const MAX_TARGETS: usize = 10_000;

const MAX_LAGGARDS: usize = 1_000;

/// The most events of one answer.
const MAX_EVENTS: usize = 1_000;

/// The longest time that an answer waits for an event.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Answers the other managers.
#[derive(Clone, Debug)]
pub struct PeerApi {
    local: Local,
    peers: Peers,
    sync: SyncOptions,
    drain: CancellationToken,
}

/// What a stream to another manager has told.
struct Told {
    instances: Arc<Instances>,
    sync: SyncOptions,
    arrived: watch::Receiver<u64>,
    stands: watch::Receiver<u64>,
    /// `None`: nothing yet.
    last: Option<Last>,
    drain: CancellationToken,
}

/// As of what the last message was, and when it was sent.
struct Last {
    arrived: u64,
    stands: u64,
    said: Instant,
}

impl PeerApi {
    /// Over what this manager knows. When `drain` fires, streams end.
    pub(crate) fn new(local: Local, peers: Peers, sync: SyncOptions, drain: CancellationToken) -> Self {
        Self { local, peers, sync, drain }
    }

    /// Refuses what is meant for another manager, which had this one's address before.
    fn check(&self, manager_id: &str) -> Result<(), Status> {
        if manager_id == self.peers.id() && !manager_id.is_empty() {
            return Ok(());
        }
        Err(Status::failed_precondition("another manager is at this address now"))
    }

    /// What is asked about, by the policy of now: whoever asks may not have heard of it yet.
    fn as_known_here(&self, target: Target) -> Target {
        match self.local.registry.get(&target.key).filter(|registered| registered.revision() > target.current) {
            Some(registered) => Target { current: registered.revision(), hash: registered.policy_hash(), ..target },
            None => target,
        }
    }
}

impl Told {
    fn nothing(instances: Arc<Instances>, sync: SyncOptions, drain: CancellationToken) -> Self {
        let (arrived, stands) = (instances.arrived(), instances.own_version());
        Self { instances, sync, arrived, stands, last: None, drain }
    }

    /// The next message. `None`: this manager stops.
    async fn next(mut self) -> Option<(v1::FollowResponse, Self)> {
        if let Some(Last { said, .. }) = self.last {
            tokio::select! {
                _ = self.arrived.changed() => {}
                _ = self.stands.changed() => {}
                () = sleep_until(said + HEARTBEAT) => {}
                () = self.drain.cancelled() => return None,
            }
            sleep(TOGETHER).await;
        }
        self.arrived.borrow_and_update();
        // By its number: who was woken by a change has seen it.
        let as_of = *self.stands.borrow_and_update();
        let has_stands = self.last.as_ref().is_none_or(|last| last.stands != as_of);
        let (arrivals, arrived) = self.instances.arrivals_after(self.last.as_ref().map_or(0, |last| last.arrived));
        let stands = if has_stands { self.instances.stands() } else { Default::default() };
        let news = v1::FollowResponse {
            arrivals: arrivals.into_iter().map(arrival_to_wire).collect(),
            arrived,
            has_stands,
            stands: stands.into_iter().map(stand_to_wire).collect(),
            reconnect_window: Some(duration_to_wire(self.sync.reconnect_window(&self.instances))),
        };
        self.last = Some(Last { arrived, stands: as_of, said: Instant::now() });
        Some((news, self))
    }
}

#[async_trait]
impl PeerService for PeerApi {
    type FollowStream = BoxStream<'static, Result<v1::FollowResponse, Status>>;

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        self.check(&request.get_ref().manager_id)?;
        let instances = Arc::clone(&self.local.instances);
        let told = Told::nothing(instances, self.sync, self.drain.clone());
        Ok(Response::new(stream::unfold(told, Told::next).map(Ok).boxed()))
    }

    async fn collect_stats(
        &self,
        request: Request<v1::CollectStatsRequest>,
    ) -> Result<Response<v1::CollectStatsResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.manager_id)?;
        let window = read_window(request.window).map_err(|error| super::error::status(&error))?;
        let targets = read_targets(request.services.iter().take(MAX_PAGE + 1))?;
        let part = |target: &Target| {
            let part = self.local.service(&target.key, target.current, target.hash, window);
            v1::ServicePart::from(&part)
        };
        let mut answer = v1::CollectStatsResponse {
            services: targets.iter().map(part).collect(),
            period: Some(duration_to_wire(self.local.period(window))),
            uptime: Some(duration_to_wire(self.local.period(None))),
            ..v1::CollectStatsResponse::default()
        };
        if request.include_totals {
            let scope = total_scope(&request)?;
            let totals = self.local.totals(&scope, &self.local.in_scope(&scope), window);
            answer.totals = Some(v1::TotalsPart::from(&totals));
        }
        if let Some(first) = targets.first() {
            let max = usize::try_from(request.max_instances).unwrap_or(MAX_PAGE).min(MAX_PAGE + 1);
            if max > 0 {
                let (rows, _) = self.local.instances.rows(&first.key, &request.instances_after, max);
                answer.instances = rows.into_iter().map(instance_to_wire).collect();
            }
            if request.include_history {
                let slots = self.local.history(&first.key, window.unwrap_or(DEFAULT_HISTORY));
                answer.history = slots.iter().map(v1::HistorySlot::from).collect();
            }
            if request.include_rejections {
                answer.rejections = self.local.rejections(&first.key);
            }
        }
        Ok(Response::new(answer))
    }

    async fn collect_events(
        &self,
        request: Request<v1::CollectEventsRequest>,
    ) -> Result<Response<v1::CollectEventsResponse>, Status> {
        self.check(&request.get_ref().manager_id)?;
        let page = collect_events(self.local.registry.events(), &self.drain, request.get_ref()).await;
        let page = page.map_err(|error| super::error::status(&error))?;
        Ok(Response::new(v1::CollectEventsResponse {
            events: page.events.iter().map(|event| v1::Event::clone(event)).collect(),
            through: page.through,
            lost: page.lost,
            closed: page.is_closed,
            has_more: page.has_more,
        }))
    }

    async fn collect_convergence(
        &self,
        request: Request<v1::CollectConvergenceRequest>,
    ) -> Result<Response<v1::CollectConvergenceResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.manager_id)?;
        // What is not answered would be read as that nobody has it.
        if request.targets.len() > MAX_TARGETS {
            return Err(Status::invalid_argument(format!("more than {MAX_TARGETS} targets")));
        }
        let targets = read_targets(&request.targets)?;
        let targets: Vec<_> = targets.into_iter().map(|target| self.as_known_here(target)).collect();
        // What was heard is read before the rest is counted, and how many have come after it: whoever is counted at two
        // managers, or at none, is noticed by these numbers.
        let heard = self.peers.heard();
        let max = usize::try_from(request.max_laggards).unwrap_or(MAX_LAGGARDS).min(MAX_LAGGARDS);
        let mut room = max;
        let mut services = Vec::new();
        for target in &targets {
            let standing = service_standing(&self.local.instances, target, (max > 0).then_some(room));
            if standing.instances > 0 {
                room -= standing.laggards.len();
                services.push(standing);
            }
        }
        let arrived = *self.local.instances.arrived().borrow();
        Ok(Response::new(v1::CollectConvergenceResponse { services, arrived, heard: heard.into_iter().collect() }))
    }
}

/// What there is to tell, and if there is nothing, waits for it.
///
/// Once this manager stops, nobody can ask it again: so its last answer waits for its last event.
async fn collect_events(
    events: &Events,
    drain: &CancellationToken,
    request: &v1::CollectEventsRequest,
) -> Result<Page, Error> {
    let filter = Filter::new(&request.namespace, &request.service, &request.kinds)?;
    let filter = filter.since(request.since.and_then(|since| since.try_into().ok()));
    let mut last = events.last();
    let Some(after) = request.after else {
        return Ok(Page { through: *last.borrow(), ..Page::default() });
    };
    if request.newest {
        return Ok(events.newest(MAX_EVENTS, &filter));
    }
    let wait = request.wait.and_then(|wait| duration_from_wire(wait).ok()).unwrap_or_default();
    let until = Instant::now() + wait.min(MAX_WAIT);
    let mut through = after;
    loop {
        last.borrow_and_update();
        let page = events.after(through, MAX_EVENTS, &filter);
        let has_news = !page.events.is_empty() || page.lost > 0;
        let is_last = drain.is_cancelled() && !page.has_more && !page.is_closed;
        if page.is_closed || (has_news && !is_last) {
            return Ok(page);
        }
        if !has_news {
            through = page.through;
        }
        if page.has_more {
            continue;
        }
        let is_over = tokio::select! {
            _ = last.changed() => false,
            // Whoever waits is told of the end at once, and not that there is nothing.
            () = drain.cancelled(), if !is_last => false,
            () = sleep_until(until), if !is_last => true,
            () = sleep(MAX_WAIT) => true,
        };
        if is_over {
            return Ok(page);
        }
    }
}

fn read_targets<'a>(targets: impl IntoIterator<Item = &'a v1::PolicyTarget>) -> Result<Vec<Target>, Status> {
    let unreadable = || Status::invalid_argument("an invalid service");
    targets.into_iter().map(|target| target_from_wire(target).ok_or_else(unreadable)).collect()
}

fn total_scope(request: &v1::CollectStatsRequest) -> Result<TotalScope, Status> {
    let status = |error: crate::error::Error| super::error::status(&error);
    match (&request.total_namespace[..], &request.total_service[..]) {
        ("", "") => Ok(TotalScope::All),
        (namespace, "") => validate::namespace(namespace)
            .map(TotalScope::Namespace)
            .map_err(|invalid| Status::invalid_argument(invalid.to_string())),
        (namespace, service) => validate::target(namespace, service).map(TotalScope::Service).map_err(status),
    }
}

#[cfg(test)]
mod tests;
