//! WatchEvents and ListEvents: what all managers have to tell, brought together by the one that is asked.
//!
//! Each manager has a ring of its own (`events.rs`). Whoever watches at one of them hears of all: for as long as somebody
//! does, and for nobody else, that manager asks the others for what comes after what it has told already, and each question
//! waits a while for an answer. So nothing is pushed at anybody, a slow watcher slows nobody but itself, and a manager
//! that cannot be asked is named and asked again from where it stood.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use cofferdam_core::wire::duration_from_wire;
use cofferdam_proto::v1;
use futures_util::{StreamExt, stream::BoxStream};
use tonic::Status;

mod stream;

use super::IsolationApi;
use crate::{
    error::Error,
    events::{Cursor, Filter, NoCursor, time_of},
};

/// Streams of events at once.
pub(super) const MAX_WATCHERS: usize = 256;

/// How many events are listed where nobody says.
const DEFAULT_LISTED: u32 = 100;

/// The most events that are listed.
const MAX_LISTED: u32 = 1_000;

/// Where a stream begins.
#[derive(Clone, Debug)]
pub(super) enum Start {
    /// With what comes now.
    Now,
    /// After what was told, if anything was.
    After(Cursor),
}

impl IsolationApi {
    pub(super) fn watch_events(
        &self,
        request: &v1::WatchEventsRequest,
    ) -> Result<BoxStream<'static, Result<v1::WatchEventsResponse, Status>>, Error> {
        let filter = Filter::new(&request.namespace, &request.service, &request.kinds)?;
        let since = self.since(request.since)?;
        let start = match (request.after.as_str(), since) {
            ("", None) => Start::Now,
            ("", Some(since)) => Start::After(Cursor::since(since)),
            (_, Some(_)) => return Err(Error::invalid("since", "must not be set together with after")),
            (after, None) => {
                Start::After(after.parse().map_err(|error: NoCursor| Error::invalid("after", error.to_string()))?)
            }
        };
        let permit = Arc::clone(&self.watchers).try_acquire_owned().map_err(|_| Error::QuotaExceeded {
            quota: "streams of events",
            limit: MAX_WATCHERS.to_string(),
            remedy: "end some, or watch at another manager",
        })?;
        let events = Arc::clone(self.local.registry.events());
        Ok(stream::Watch::begin(events, self.peers.clone(), filter, start, permit).boxed())
    }

    pub(super) async fn list_events(&self, request: &v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Error> {
        let since = self.since(request.since)?;
        let filter = Filter::new(&request.namespace, &request.service, &request.kinds)?.since(since);
        let max = match request.max_events {
            0 => DEFAULT_LISTED,
            max if max <= MAX_LISTED => max,
            _ => return Err(Error::invalid("max_events", format!("must be at most {MAX_LISTED}"))),
        };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let events = self.local.registry.events();
        let mut cursor = Cursor::since(events.now());
        let asked = self.peers.ask(|mut client, id| {
            let request = v1::CollectEventsRequest { manager_id: id, after: Some(0), newest: true, ..filter.to_wire() };
            async move { client.collect_events(request).await }
        });
        let others = asked.await;
        let own = events.newest(max, &filter);
        cursor.set(events.manager_id(), own.through);
        let mut all: Vec<v1::Event> = own.events.iter().map(|event| v1::Event::clone(event)).collect();
        let mut has_older = own.has_more || own.lost > 0;
        for (id, part) in others.parts {
            cursor.set(&id, part.through);
            all.extend(part.events);
            has_older |= part.has_more || part.lost > 0;
        }
        // Stable: those of one manager stay in their order where their times are one.
        all.sort_by_key(time_of);
        let beyond = all.len().saturating_sub(max);
        Ok(v1::ListEventsResponse {
            events: all.split_off(beyond),
            has_older: has_older || beyond > 0,
            cursor: cursor.to_string(),
            unreachable_managers: others.unreachable,
        })
    }

    /// So long ago.
    fn since(&self, since: Option<prost_types::Duration>) -> Result<Option<SystemTime>, Error> {
        let Some(since) = since else { return Ok(None) };
        let long = duration_from_wire(since).ok().filter(|long| *long > Duration::ZERO);
        let long = long.ok_or_else(|| Error::invalid("since", "must be above zero"))?;
        Ok(Some(self.local.registry.events().now().checked_sub(long).unwrap_or(SystemTime::UNIX_EPOCH)))
    }
}

#[cfg(test)]
mod tests;
