//! ListRevisions: changes of one service or of many, the newest first, page by page.
//!
//! The changes of many services are merged by time, as revisions say little to people. A page ends after a certain change,
//! and the next one begins behind it, whatever came in between.

use std::{cmp::Reverse, collections::BTreeSet};

use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1;
use futures_util::future::join_all;
use prost::Message;
use prost_types::Timestamp;

use super::{History, Kept};
use crate::{
    error::Error,
    registry::{Registry, Revision, service_key, validate},
};

const DEFAULT_SIZE: usize = 20;
const MAX_SIZE: usize = 100;

/// Where a page ends early: half of what gRPC clients take by default.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How many services are read at a time.
const TOGETHER: usize = 16;

/// A time in a form that can be sorted: seconds since 1970 and nanoseconds.
type Time = (i64, i32);

/// Where a change stands among all: the newest first. The parts of a change of many have one time, and of them the later
/// revision is the newer one.
type Place = (Reverse<Time>, Reverse<Revision>, ServiceKey);

impl Registry {
    /// A page of changes.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`] for a service of which nothing is kept, [`Error::Invalid`], and those of a store that
    /// cannot be read.
    pub async fn list_revisions(&self, request: &v1::ListRevisionsRequest) -> Result<v1::ListRevisionsResponse, Error> {
        let size = page_size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(read_token(token)?),
        };
        if !request.service.is_empty() {
            let key = validate::target(&request.namespace, &request.service)?;
            let history = self.shared.history(&key).await?;
            return Ok(page(&[history], after.as_ref(), size));
        }
        self.shared.catch_up_with_store().await?;
        let mut candidates = self.candidates(&request.namespace)?;
        candidates.sort_by(|a, b| (Reverse(a.0), &a.1).cmp(&(Reverse(b.0), &b.1)));
        let mut places = Vec::new();
        let mut candidates = candidates.into_iter().peekable();
        // Until nothing of those that are left can come before the last one of the page.
        while let Some((next, _)) = candidates.peek() {
            if places.get(size).is_some_and(|(Reverse(last), ..): &Place| last > next) {
                break;
            }
            let keys: Vec<_> = candidates.by_ref().take(TOGETHER).map(|(_, key)| key).collect();
            for history in self.histories(&keys).await? {
                places.extend(history.places().filter(|place| after.as_ref().is_none_or(|after| after < place)));
            }
            places.sort();
            places.truncate(size + 1);
        }
        // Read again, so that on the way to a late page no more is in memory than has a place on it.
        let keys: BTreeSet<_> = places.into_iter().map(|(_, _, key)| key).collect();
        let mut histories = Vec::new();
        for keys in keys.into_iter().collect::<Vec<_>>().chunks(TOGETHER) {
            histories.extend(self.histories(keys).await?);
        }
        Ok(page(&histories, after.as_ref(), size))
    }

    /// What is kept of services, less those of which nothing is any more.
    async fn histories(&self, keys: &[ServiceKey]) -> Result<Vec<History>, Error> {
        let read = join_all(keys.iter().map(|key| self.shared.history(key))).await;
        let is_there = |history: &Result<History, Error>| !matches!(history, Err(Error::ServiceNotFound { .. }));
        read.into_iter().filter(is_there).collect()
    }

    /// The services of which something is kept, and when each changed last.
    fn candidates(&self, namespace: &str) -> Result<Vec<(Time, ServiceKey)>, Error> {
        let namespace = validate::namespaces(namespace)?;
        let catalog = self.shared.read();
        let registered = catalog.services_after(None).map(|present| (present.key(), present.update_time()));
        // A release that keeps no changes registers a service and leaves what stood for it.
        let gone = catalog.unregistered_services().filter(|(key, _)| catalog.service(key).is_none());
        let unregistered = gone.map(|(key, gone)| (key, gone.changes.time));
        let wanted = |(key, _): &(&ServiceKey, _)| namespace.as_ref().is_none_or(|name| key.namespace == *name);
        let all = registered.chain(unregistered).filter(wanted);
        Ok(all.map(|(key, time)| (sortable(time.unwrap_or_default()), key.clone())).collect())
    }
}

impl History {
    /// Where its changes stand among all, the oldest first.
    fn places(&self) -> impl Iterator<Item = Place> {
        let place =
            |(kept, time): (&Kept, Timestamp)| (Reverse(sortable(time)), Reverse(kept.revision), self.key.clone());
        self.kept.iter().zip(self.times()).map(place)
    }
}

fn page(histories: &[History], after: Option<&Place>, size: usize) -> v1::ListRevisionsResponse {
    let places = histories
        .iter()
        .flat_map(|history| history.places().enumerate().map(move |(index, place)| (place, history, index)));
    let mut places: Vec<_> = places.filter(|(place, ..)| after.is_none_or(|after| after < place)).collect();
    places.sort_by(|a, b| a.0.cmp(&b.0));
    let mut answer = v1::ListRevisionsResponse::default();
    let mut bytes = 0;
    let mut last = None;
    for (place, history, index) in &places {
        let revision = history.describe(*index);
        bytes += revision.encoded_len();
        let is_full = answer.revisions.len() == size || (bytes > MAX_BYTES && last.is_some());
        if is_full {
            answer.next_page_token = last.map(write_token).unwrap_or_default();
            break;
        }
        answer.revisions.push(revision);
        last = Some(place);
    }
    answer
}

fn sortable(time: Timestamp) -> Time {
    (time.seconds, time.nanos)
}

fn page_size(asked: i32) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) if size <= MAX_SIZE => Ok(size),
        _ => Err(Error::invalid("page_size", format!("must be in [0, {MAX_SIZE}], not {asked}"))),
    }
}

/// A token is the place of the last change of its page. It is nobody's business but ours.
fn write_token((Reverse((seconds, nanos)), Reverse(revision), key): &Place) -> String {
    format!("{seconds}:{nanos}:{}:{}:{key}", revision.epoch, revision.revision)
}

fn read_token(token: &str) -> Result<Place, Error> {
    let read = || {
        let mut parts = token.splitn(5, ':');
        let time = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let revision = Revision { epoch: parts.next()?.parse().ok()?, revision: parts.next()?.parse().ok()? };
        Some((Reverse(time), Reverse(revision), service_key(parts.next()?)?))
    };
    read().ok_or_else(|| Error::invalid("page_token", "must be the next_page_token of the page before"))
}
