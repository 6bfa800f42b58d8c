//! What happens inside the SDK, told to whoever listens.

use crate::fleet_hint::FleetHint;
use crate::panics::unless_it_panics;
use cofferdam_core::breaker::{Cause, State};
use cofferdam_core::hold::Hold;
use cofferdam_core::isolation::Part;
use cofferdam_core::level::Level;
use cofferdam_core::revision::Revision;
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// Events that a listener may lag behind before it misses some.
const CAPACITY: usize = 256;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The manager answered: from now on policies are current.
    Connected {
        /// Its URL.
        manager: Arc<str>,
    },
    /// The manager is out of reach, or was never in reach. Policies stay in force as they are. Told once, not for
    /// every attempt to come back.
    Disconnected {
        /// Why.
        reason: Arc<str>,
    },
    /// A policy from the manager is in force.
    PolicyApplied {
        /// The service.
        service: Arc<str>,
        /// The policy's revision.
        revision: Revision,
    },
    /// A policy from the manager was refused; the one before stays in force.
    PolicyRefused {
        /// The service.
        service: Arc<str>,
        /// The revision refused. `None`: it named none.
        revision: Option<Revision>,
        /// Why.
        reason: Arc<str>,
    },
    /// A policy from the manager turned a working service's calls away; the one before was put back. See
    /// [`Builder::contain_policies`](crate::Builder::contain_policies).
    PolicyContained {
        /// The service.
        service: Arc<str>,
        /// The revision that is not in force any more.
        revision: Revision,
        /// The revision that is again. `None`: the built-in default.
        in_force: Option<Revision>,
        /// Why, with the numbers.
        reason: Arc<str>,
    },
    /// The manager sent a policy older than one that was seen already; it was ignored.
    PolicyOutdated {
        /// The service.
        service: Arc<str>,
        /// The revision ignored.
        revision: Revision,
        /// The newest revision seen.
        newest: Revision,
    },
    /// The manager has no policy for the service any more: the built-in default is in force.
    PolicyRemoved {
        /// The service.
        service: Arc<str>,
        /// The revision of the removal.
        revision: Revision,
    },
    /// A breaker changed its state.
    Transition {
        /// The service.
        service: Arc<str>,
        /// The part of it that the breaker is for.
        part: Part,
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// Why.
        cause: Cause,
        /// Whether calls felt it. Not where a mode such as metrics-only or a hold stands over the rules, nor at a level
        /// without breakers: it is then what would have been.
        is_enforced: bool,
        /// Whether it opened sooner than the policy's own numbers would have it, for a [hint](Event::FleetHint).
        is_hinted: bool,
    },
    /// The breaker of a service has opened at many other instances, says the manager. Told where a hint begins, not where
    /// it is renewed, and only where the policy has a use for hints; [`Service::fleet_hint`](crate::Service::fleet_hint)
    /// says how long it goes on.
    FleetHint {
        /// The service.
        service: Arc<str>,
        /// The hint.
        hint: FleetHint,
    },
    /// The time of a temporary level is over: the policy's own is in force again.
    TemporaryLevelOver {
        /// The service.
        service: Arc<str>,
        /// The policy's level.
        level: Level,
    },
    /// An operator holds breakers of a service: [`forced`](Hold::forced) says what that makes of them, which no
    /// [`Transition`](Event::Transition) does, for their rules have said nothing.
    Held {
        /// The service.
        service: Arc<str>,
        /// The hold.
        hold: Arc<Hold>,
    },
    /// A hold is over: it was released, has run out or another is in its place.
    HoldOver {
        /// The service.
        service: Arc<str>,
        /// The hold.
        hold: Arc<Hold>,
    },
    /// A service was asked for that no manager will know; see [`Cofferdam::service`](crate::Cofferdam::service).
    NotFollowed {
        /// The name.
        service: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// The listener was too slow, and so many events are lost to it.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The events from now on, as a [`Stream`]. It ends when the last [`Cofferdam`](crate::Cofferdam) and the last
/// [`Service`](crate::Service) are gone.
///
/// Listeners are independent of each other and of protected calls: one that does not keep up misses events
/// ([`Event::Missed`] says how many) and delays nobody.
#[derive(Debug)]
pub struct Events(BroadcastStream<Event>);

impl Events {
    /// The next event. `None`: there will be none.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.0).poll_next(context).map(|next| {
            next.map(|event| match event {
                Ok(event) => event,
                Err(BroadcastStreamRecvError::Lagged(count)) => Event::Missed { count },
            })
        })
    }
}

/// Where events are told.
#[derive(Clone, Debug)]
pub(crate) struct Hub(broadcast::Sender<Event>);

impl Hub {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(crate) fn tell(&self, event: Event) {
        // An error says that nobody listens; a panic is that of a listener's waker.
        let _ = unless_it_panics(|| self.0.send(event));
    }

    pub(crate) fn listen(&self) -> Events {
        Events(BroadcastStream::new(self.0.subscribe()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event::Disconnected { reason: number.to_string().into() }
    }

    /// Seen in <https://github.com/sony/gobreaker/issues/37>, <https://github.com/danielfm/pybreaker/issues/41>.
    #[tokio::test]
    async fn t14_a_slow_listener_is_told_how_much_it_missed_and_delays_nobody() {
        let hub = Hub::new();
        let mut slow = hub.listen();
        for number in 0..CAPACITY + 7 {
            hub.tell(event(number));
        }
        assert_eq!(slow.next().await, Some(Event::Missed { count: 7 }));
        assert_eq!(slow.next().await, Some(event(7)));
    }

    #[tokio::test]
    async fn events_end_with_the_last_teller() {
        let hub = Hub::new();
        let mut events = hub.listen();
        hub.tell(event(1));
        drop(hub);
        assert_eq!(events.next().await, Some(event(1)));
        assert_eq!(events.next().await, None);
    }
}
