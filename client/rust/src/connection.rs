//! How the SDK stands with its manager.

use crate::events::{Event, Hub};
use crate::panics::tell;
use crate::runtime::Tokio;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the SDK stands with its manager. Nothing here changes what protected calls do: the last policies stay in force
/// for as long as it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Whether the manager is in reach: it has answered on the stream that is open now.
    pub is_connected: bool,
    /// For how long it has been so.
    pub lasted: Duration,
    /// How long ago the manager last confirmed that no policy is missing; at most some ten seconds while connected.
    /// `None`: never.
    pub policy_age: Option<Duration>,
    /// Why the manager is out of reach. `None`: it is in reach, or the first attempt is under way.
    pub reason: Option<Arc<str>>,
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
    since: Timestamp,
    confirmed: Option<Timestamp>,
    reason: Option<Arc<str>>,
}

impl Link {
    pub(crate) fn new(hub: Hub) -> Self {
        let state = State { is_connected: false, since: Tokio.now(), confirmed: None, reason: None };
        Self { state: Mutex::new(state), hub }
    }

    pub(crate) fn connected(&self, manager: &Arc<str>) {
        let mut state = self.lock();
        if state.is_connected {
            return;
        }
        *state = State { is_connected: true, since: Tokio.now(), confirmed: state.confirmed, reason: None };
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
        Connection {
            is_connected: state.is_connected,
            lasted: now.saturating_since(state.since),
            policy_age: state.confirmed.map(|confirmed| now.saturating_since(confirmed)),
            reason: state.reason.clone(),
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
        link.disconnected("refused", false);
        link.disconnected("refused again", false);
        tokio::time::advance(Duration::from_secs(3)).await;
        link.connected(&"http://m".into());
        link.confirmed();
        tokio::time::advance(Duration::from_secs(7)).await;
        let connected = Connection {
            is_connected: true,
            lasted: Duration::from_secs(7),
            policy_age: Some(Duration::from_secs(7)),
            reason: None,
        };
        assert_eq!(link.look(), connected);

        link.disconnected("gone", false);
        tokio::time::advance(Duration::from_secs(600)).await;
        let gone = link.look();
        assert!(!gone.is_connected);
        assert_eq!(gone.lasted, Duration::from_secs(600));
        assert_eq!(gone.policy_age, Some(Duration::from_secs(607)));
        assert_eq!(gone.reason.as_deref(), Some("gone"));

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
