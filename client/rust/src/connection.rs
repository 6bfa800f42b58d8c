//! How the SDK stands with its manager.

use crate::events::{Event, Hub};
use crate::panics::tell;
use crate::runtime::Tokio;
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the SDK stands with its manager. Nothing here changes what protected calls do: the last policies stay in force
/// for as long as it takes.
///
/// ```
/// use cofferdam::{Cofferdam, ConnectionState, Origin};
///
/// let cd = Cofferdam::builder("checkout").start();
/// let connection = cd.connection();
/// assert_eq!(connection.state, ConnectionState::Disconnected);
/// println!("{:?} for {:?}: {:?}", connection.state, connection.lasted, connection.reason);
/// println!("heard {:?} ago, up to date {:?} ago", connection.message_age, connection.policy_age);
/// println!("{} policies applied, {} refused", connection.applied, connection.refused);
///
/// let db = cd.service("orders-db");
/// assert_eq!((db.origin(), db.revision()), (Origin::BuiltIn, None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Whether the manager is in reach.
    pub state: ConnectionState,
    /// For how long it has been so.
    pub lasted: Duration,
    /// The URL of the manager that has answered on the stream that is open now. `None`: none is open.
    pub manager: Option<Arc<str>>,
    /// How long ago the manager last confirmed that no policy is missing; at most some ten seconds while connected.
    /// `None`: never.
    pub policy_age: Option<Duration>,
    /// How long ago the manager last said anything. While connected it speaks every ten seconds at the least, and a
    /// stream that is silent for thirty is given up. `None`: never.
    pub message_age: Option<Duration>,
    /// Why the manager is out of reach. `None`: it is in reach, or the first attempt is under way.
    pub reason: Option<Arc<str>>,
    /// The policy of the manager's that was put in force last, and its service. `None`: none since the start. What is
    /// in force for one service is told by [`Service::revision`](crate::Service::revision) and
    /// [`Service::origin`](crate::Service::origin).
    pub last_applied: Option<(Arc<str>, Revision)>,
    /// Policies of the manager's that were put in force since the start.
    pub applied: u64,
    /// Policies of the manager's that were refused since the start; [`Event::PolicyRefused`] tells which and why.
    pub refused: u64,
}

/// Whether the manager is in reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// The first attempt to reach it is under way.
    Connecting,
    /// It has answered on the stream that is open now.
    Connected,
    /// It is out of reach, or there is none. Where there is one, attempts go on for ever.
    Disconnected,
}

impl Connection {
    /// Whether the manager is in reach: it has answered on the stream that is open now.
    pub fn is_connected(&self) -> bool {
        self.state == ConnectionState::Connected
    }
}

/// The connection's state, written by the sync task.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    hub: Hub,
}

#[derive(Debug)]
struct State {
    is_connected: bool,
    manager: Option<Arc<str>>,
    since: Timestamp,
    confirmed: Option<Timestamp>,
    heard: Option<Timestamp>,
    reason: Option<Arc<str>>,
    last_applied: Option<(Arc<str>, Revision)>,
    applied: u64,
    refused: u64,
}

impl Link {
    pub(crate) fn new(hub: Hub) -> Self {
        let state = State {
            is_connected: false,
            manager: None,
            since: Tokio.now(),
            confirmed: None,
            heard: None,
            reason: None,
            last_applied: None,
            applied: 0,
            refused: 0,
        };
        Self { state: Mutex::new(state), hub }
    }

    /// Takes note that the manager has said something.
    pub(crate) fn heard(&self) {
        self.lock().heard = Some(Tokio.now());
    }

    /// Takes note that a policy is in force.
    pub(crate) fn applied(&self, service: &Arc<str>, revision: Revision) {
        let mut state = self.lock();
        state.last_applied = Some((Arc::clone(service), revision));
        state.applied += 1;
    }

    /// Takes note that a policy was refused.
    pub(crate) fn refused(&self) {
        self.lock().refused += 1;
    }

    pub(crate) fn connected(&self, manager: &Arc<str>) {
        let mut state = self.lock();
        if state.is_connected {
            return;
        }
        (state.is_connected, state.since, state.reason) = (true, Tokio.now(), None);
        state.manager = Some(Arc::clone(manager));
        drop(state);
        tell(|| tracing::info!(%manager, "connected to the manager"));
        self.hub.tell(Event::Connected { manager: Arc::clone(manager) });
    }

    /// Takes note that nothing is missing as of now.
    pub(crate) fn confirmed(&self) {
        self.lock().confirmed = Some(Tokio.now());
    }

    /// Takes note that the manager is out of reach; only the first of several times in a row is told.
    /// Being `is_expected` makes it less of a warning.
    pub(crate) fn disconnected(&self, reason: &str, is_expected: bool) {
        let reason: Arc<str> = reason.into();
        let mut state = self.lock();
        let is_news = state.is_connected || state.reason.is_none();
        if state.is_connected {
            state.since = Tokio.now();
        }
        state.is_connected = false;
        state.manager = None;
        state.reason = Some(Arc::clone(&reason));
        drop(state);
        tell(|| match (is_news, is_expected) {
            (true, false) => tracing::warn!(%reason, "the manager is out of reach; policies stay in force"),
            (true, true) => tracing::info!(%reason, "disconnected from the manager; policies stay in force"),
            (false, _) => tracing::debug!(%reason, "the manager is still out of reach"),
        });
        if is_news {
            self.hub.tell(Event::Disconnected { reason });
        }
    }

    pub(crate) fn look(&self) -> Connection {
        let state = self.lock();
        let now = Tokio.now();
        let age = |at: Timestamp| now.saturating_since(at);
        Connection {
            state: match (state.is_connected, &state.reason) {
                (true, _) => ConnectionState::Connected,
                (false, Some(_)) => ConnectionState::Disconnected,
                (false, None) => ConnectionState::Connecting,
            },
            lasted: age(state.since),
            manager: state.manager.clone(),
            policy_age: state.confirmed.map(age),
            message_age: state.heard.map(age),
            reason: state.reason.clone(),
            last_applied: state.last_applied.clone(),
            applied: state.applied,
            refused: state.refused,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ages_are_exact_and_events_are_told_once() {
        let hub = Hub::new();
        let mut events = hub.listen();
        let link = Link::new(hub);
        assert_eq!(link.look().state, ConnectionState::Connecting);
        link.disconnected("refused", false);
        link.disconnected("refused again", false);
        tokio::time::advance(Duration::from_secs(3)).await;
        link.connected(&"http://m".into());
        link.confirmed();
        tokio::time::advance(Duration::from_secs(4)).await;
        link.heard();
        let revision = Revision { epoch: 1, revision: 9 };
        link.applied(&"a".into(), revision);
        link.refused();
        tokio::time::advance(Duration::from_secs(3)).await;
        let connected = Connection {
            state: ConnectionState::Connected,
            lasted: Duration::from_secs(7),
            manager: Some("http://m".into()),
            policy_age: Some(Duration::from_secs(7)),
            message_age: Some(Duration::from_secs(3)),
            reason: None,
            last_applied: Some(("a".into(), revision)),
            applied: 1,
            refused: 1,
        };
        assert_eq!(link.look(), connected);

        link.disconnected("gone", false);
        tokio::time::advance(Duration::from_secs(600)).await;
        let gone = Connection {
            state: ConnectionState::Disconnected,
            lasted: Duration::from_secs(600),
            policy_age: Some(Duration::from_secs(607)),
            message_age: Some(Duration::from_secs(603)),
            manager: None,
            reason: Some("gone".into()),
            ..connected
        };
        assert_eq!(link.look(), gone);

        drop(link);
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(event);
        }
        let disconnected = |reason: &str| Event::Disconnected { reason: reason.into() };
        let expected = [disconnected("refused"), Event::Connected { manager: "http://m".into() }, disconnected("gone")];
        assert_eq!(told, expected);
    }
}
