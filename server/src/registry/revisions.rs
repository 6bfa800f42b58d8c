//! What can be read of the changes of services: a page of them, the service as it was, what differs.
//!
//! Unlike all else it is read from the store at the moment it is asked for: it is rarely looked at, and more than a manager
//! should keep in memory. One service costs one read of a range. A page over many services reads those that changed last
//! first, which memory knows, and no more of them than can have a place on the page.

use cofferdam_core::{
    name::ServiceKey,
    wire::{effective_policy, revision_from_wire, revision_to_wire, to_wire},
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;
use prost_types::Timestamp;

mod diff;
mod page;
mod run_out;

pub(super) use self::diff::Difference;
use super::{
    Registry, Revision, Shared,
    changes::{self, Kept},
    key, nearest,
    record::as_written,
    validate::target,
};
use crate::error::Error;

/// The changes of one service that are kept, the oldest first.
#[derive(Debug)]
pub(super) struct History {
    key: ServiceKey,
    /// At least one.
    kept: Vec<Kept>,
    /// Whether what was before the oldest was dropped. Otherwise the service was not registered before it.
    is_cut: bool,
}

/// A point in the history of one service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// The change that was the last one then. `None`: it was before the first.
    pub(super) change: Option<&'a Kept>,
    /// When that is: what had run out by then was over. `None`: nobody knows, and nothing had run out.
    time: Option<Timestamp>,
}

impl Registry {
    /// A service as it was.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::RevisionUnknown`], [`Error::RevisionNotKept`], [`Error::Invalid`], and those
    /// of a store that cannot be read.
    pub async fn get_revision(&self, request: &v1::GetRevisionRequest) -> Result<v1::GetRevisionResponse, Error> {
        let key = target(&request.namespace, &request.service)?;
        let history = self.shared.history(&key).await?;
        let moment = history.find(request.at.as_ref(), "at", self.now())?;
        let state = moment.state()?;
        let policy = state.as_ref().and_then(|state| effective_policy(state.policy.as_ref()?).ok());
        let at = moment.change.and_then(|change| history.kept.iter().position(|kept| kept.number == change.number));
        Ok(v1::GetRevisionResponse {
            revision: at.map(|index| history.describe(index)),
            policy: policy.as_ref().map(to_wire),
            insisted: state.as_ref().is_some_and(|state| state.insisted),
            service: state.as_ref().and_then(|state| state.service.clone()),
            written_policy: state.and_then(|state| state.policy),
        })
    }

    /// What differs between two points of a service's history.
    ///
    /// # Errors
    /// As [`get_revision`](Self::get_revision).
    pub async fn diff_revisions(&self, request: &v1::DiffRevisionsRequest) -> Result<v1::DiffRevisionsResponse, Error> {
        let key = target(&request.namespace, &request.service)?;
        let history = self.shared.history(&key).await?;
        let from = history.find(request.from.as_ref(), "from", self.now())?;
        let to = history.find(request.to.as_ref(), "to", self.now())?;
        let Difference { changes, more } = Difference::between(from.state()?.as_ref(), to.state()?.as_ref());
        let revision = |moment: Moment<'_>| moment.change.map(|change| revision_to_wire(change.revision));
        Ok(v1::DiffRevisionsResponse { from: revision(from), to: revision(to), changes, more_changes: more })
    }

    /// When a service changed and to which revision, in seconds since 1970, the oldest first: as far as it is kept.
    ///
    /// # Errors
    /// As [`get_revision`](Self::get_revision).
    pub(crate) async fn change_times(&self, key: &ServiceKey) -> Result<Vec<(i64, Revision)>, Error> {
        let history = self.shared.history(key).await?;
        let times = history.times().into_iter().map(|time| time.seconds);
        Ok(times.zip(history.kept.iter().map(|kept| kept.revision)).collect())
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from(self.shared.clock.now())
    }
}

impl Shared {
    /// What is kept of the changes of a service.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`] where nothing is, or what the store fails with.
    pub(super) async fn history(&self, key: &ServiceKey) -> Result<History, Error> {
        let prefix = key::changes(key);
        let reading = self.store.list(&prefix);
        let listing = match tokio::time::timeout(self.options.store_timeout, reading).await {
            Ok(listing) => listing.map_err(|error| self.lease_error(error))?,
            Err(_) => return Err(Error::StoreUnavailable { reason: self.no_answer() }),
        };
        let catalog = self.read();
        let decode = |entry| {
            Kept::decode(entry, catalog.epoch)
                .inspect_err(|reason| tracing::error!(key = entry.key, %reason, "a change cannot be read: left out"))
                .ok()
        };
        let mut kept: Vec<_> = listing.entries.iter().filter_map(decode).collect();
        kept.sort_by_key(|kept| (kept.revision, kept.number));
        if let Some(found) = catalog.service(key).and_then(|present| changes::found(present))
            && kept.last().is_none_or(|last| last.revision < found.revision)
        {
            kept.push(found);
        }
        let Some(oldest) = kept.first() else { return Err(nearest::not_found(&catalog, key)) };
        let is_cut = !(oldest.number == 1 && oldest.record.kind() == v1::ChangeKind::Registered);
        Ok(History { key: key.clone(), kept, is_cut })
    }
}

impl History {
    /// The point that a request means by its field `path`.
    ///
    /// # Errors
    /// [`Error::RevisionUnknown`], [`Error::RevisionNotKept`], or [`Error::Invalid`] for a time that is none or in the
    /// future.
    pub(super) fn find(
        &self,
        point: Option<&v1::RevisionPoint>,
        path: &str,
        now: Timestamp,
    ) -> Result<Moment<'_>, Error> {
        match point.and_then(|point| point.point.as_ref()) {
            None => Ok(Moment { change: self.kept.last(), time: Some(now) }),
            Some(v1::revision_point::Point::Revision(revision)) => self.at_revision(revision_from_wire(*revision)),
            Some(v1::revision_point::Point::Time(time)) => {
                check_time(time, &format!("{path}.time"), now)?;
                self.at_time(time)
            }
        }
    }

    fn at_revision(&self, wanted: Revision) -> Result<Moment<'_>, Error> {
        let is_wanted = |kept: &&Kept| {
            kept.revision.revision == wanted.revision && (wanted.epoch == 0 || kept.revision.epoch == wanted.epoch)
        };
        if let Some(change) = self.kept.iter().rev().find(is_wanted) {
            return Ok(Moment { change: Some(change), time: change.record.time });
        }
        let revision = |kept: Option<&Kept>| kept.map(|kept| kept.revision).unwrap_or_default();
        let (oldest, newest) = (revision(self.kept.first()), revision(self.kept.last()));
        let is_older = if wanted.epoch == 0 { wanted.revision < oldest.revision } else { wanted < oldest };
        if self.is_cut && is_older {
            return Err(self.not_kept(format!("revision {wanted}")));
        }
        Err(Error::RevisionUnknown { key: self.key.clone(), wanted, oldest, newest })
    }

    /// What was there at a time of day.
    pub(super) fn at_time(&self, time: &Timestamp) -> Result<Moment<'_>, Error> {
        let times = self.times();
        let change = self.kept.iter().zip(&times).rev().find(|(_, at)| is_before(at, time)).map(|(kept, _)| kept);
        if change.is_none() && self.is_cut {
            return Err(self.not_kept(time.to_string()));
        }
        Ok(Moment { change, time: Some(*time) })
    }

    fn not_kept(&self, wanted: String) -> Error {
        let oldest = self.kept.first();
        let time = oldest.and_then(|kept| kept.record.time).unwrap_or_default().to_string();
        let oldest = oldest.map(|kept| kept.revision).unwrap_or_default();
        Error::RevisionNotKept { key: self.key.clone(), wanted, oldest, time }
    }

    /// The change that a change of many services has made here, as what became of the service. `None`: it has made none.
    pub(super) fn put_back_by(&self, bulk: Revision) -> Option<v1::RolledBackService> {
        let is_its = |kept: &Kept| kept.record.bulk.map(revision_from_wire) == Some(bulk);
        let index = self.kept.iter().position(is_its)?;
        let v1::ServiceRevision { namespace, service, revision, restored, changes, more_changes, .. } =
            self.describe(index);
        let before = index.checked_sub(1).and_then(|index| self.kept.get(index));
        let registered = before.filter(|before| !before.record.after.is_empty());
        Some(v1::RolledBackService {
            namespace,
            service,
            outcome: v1::RollbackOutcome::Done.into(),
            from: registered.map(|before| revision_to_wire(before.revision)),
            to: restored,
            revision,
            changes,
            more_changes,
            error: String::new(),
        })
    }

    /// The first change after a revision.
    pub(super) fn first_after(&self, revision: Revision) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.revision > revision)
    }

    /// Whether it had changed between a time and a revision, as far as is known.
    pub(super) fn had_changed(&self, since: &Timestamp, by: Revision) -> bool {
        let last = self.kept.iter().zip(self.times()).rfind(|(kept, _)| kept.revision <= by);
        last.map_or(self.is_cut, |(_, time)| !is_before(&time, since))
    }

    /// When each change was made: as it says, and never later than the ones after it, whatever the clocks were.
    fn times(&self) -> Vec<Timestamp> {
        let mut times: Vec<_> = self.kept.iter().map(|kept| kept.record.time.unwrap_or_default()).collect();
        for index in (1..times.len()).rev() {
            let (earlier, later) = times.split_at_mut(index);
            if let (Some(earlier), Some(later)) = (earlier.last_mut(), later.first())
                && !is_before(earlier, later)
            {
                *earlier = *later;
            }
        }
        times
    }

    /// One change as the contract shows it.
    pub(super) fn describe(&self, index: usize) -> v1::ServiceRevision {
        let Some(kept) = self.kept.get(index) else { return v1::ServiceRevision::default() };
        let before = index.checked_sub(1).and_then(|index| self.kept.get(index));
        let is_oldest_kept = before.is_none() && self.is_cut;
        // What had run out by the time of the change is nothing that whoever made it has ended.
        let time = kept.record.time;
        let state = |kept: &Kept| Moment { change: Some(kept), time }.state().ok().flatten();
        let difference = || Difference::between(before.and_then(state).as_ref(), state(kept).as_ref());
        let Difference { changes, more } = if is_oldest_kept { Difference::default() } else { difference() };
        v1::ServiceRevision {
            namespace: self.key.namespace.to_string(),
            service: self.key.name.to_string(),
            revision: Some(revision_to_wire(kept.revision)),
            kind: kept.record.kind,
            actor: kept.record.actor.clone(),
            reason: kept.record.reason.clone(),
            time: kept.record.time,
            changes,
            more_changes: more,
            is_oldest_kept,
            restored: kept.record.restored,
        }
    }
}

impl Moment<'_> {
    /// The service then, less what operators had ordered and what had run out. `None`: it was not registered.
    ///
    /// # Errors
    /// [`Error::Internal`] where the change holds no such thing.
    pub(super) fn state(self) -> Result<Option<storage::ServiceRecord>, Error> {
        let Some(change) = self.change.filter(|change| !change.record.after.is_empty()) else { return Ok(None) };
        let unreadable = |error| Error::Internal { detail: format!("change {}: {error}", change.number) };
        let state = storage::ServiceRecord::decode(change.record.after.clone()).map(as_written).map_err(unreadable)?;
        Ok(Some(match &self.time {
            Some(time) => run_out::left_out(state, time),
            None => state,
        }))
    }
}

/// Refuses a time that is none, or in the future.
pub(super) fn check_time(time: &Timestamp, path: &str, now: Timestamp) -> Result<(), Error> {
    if !super::validate::is_timestamp(time) {
        return Err(Error::invalid(path, "must be a valid timestamp"));
    }
    if !is_before(time, &now) {
        return Err(Error::invalid(path, format!("must not be in the future: it is {now}")));
    }
    Ok(())
}

/// Whether one time is not after another.
pub(super) fn is_before(time: &Timestamp, other: &Timestamp) -> bool {
    (time.seconds, time.nanos) <= (other.seconds, other.nanos)
}
