//! Changes of more services than one transaction takes: each is a plan that any manager carries to its end.
//!
//! No store takes ten thousand services in one transaction. A switch, by which all of them would change at one revision, was
//! weighed: values staged beside those in force, and one key that says which count. Every reader would have to lay the one
//! over the other, managers of an earlier release would serve the old ones, and each service would be written twice. And
//! nobody would see it: between two services there is no common moment in a fleet of instances, whatever the store does.
//!
//! So a plan is stored first, `bulk/plan`, which says what is to be done and holds no value and no service. From then on it is
//! carried to its end, whichever managers die. What is left to do is computed, never remembered: services that are not yet
//! as they are to be, and that nobody has changed since the plan was ordered. Part by part is written in transactions that
//! depend on the plan's own key and change it, so that of two managers at it one commits and the other looks again. A record
//! of a change names the plan, so that whoever goes on knows what is done.
//!
//! There is one at a time. It stays when it is finished, as what became of it, until the next one takes its place.

use bytes::Bytes;
use cofferdam_core::wire::{revision_from_wire, revision_to_wire};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;

use super::{
    Revision, Shared, key,
    record::{SCHEMA_VERSION, Unreadable},
    transact::put,
};
use crate::{
    error::Error,
    store::{Op, StoreRevision},
};

/// The last plan that was ordered.
#[derive(Clone, Debug)]
pub(super) struct Bulk {
    /// Its key's revision.
    pub(super) at: StoreRevision,
    /// `None`: it cannot be read.
    pub(super) plan: Option<BulkPlan>,
}

impl Bulk {
    /// Whether it is not known to be at its end.
    pub(super) fn is_under_way(&self) -> bool {
        self.plan.as_ref().is_none_or(|plan| !plan.change.finished)
    }
}

/// A plan, as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BulkPlan {
    /// The revision at which it was ordered, by which it is known.
    pub(super) ordered: Revision,
    /// What is to be done, and how far it is.
    pub(super) change: v1::BulkChange,
}

impl BulkPlan {
    /// Reads a plan whose key is at a revision.
    pub(super) fn decode(value: &Bytes, at: Revision) -> Result<Self, Unreadable> {
        let record = storage::BulkPlan::decode(value.clone())?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        let mut change = record.change.ok_or(Unreadable::Missing("change"))?;
        let ordered = match change.revision {
            Some(own) if own.revision != 0 => revision_from_wire(own),
            own => Revision { epoch: own.map_or(at.epoch, |own| own.epoch), revision: at.revision },
        };
        if change.to.is_none() {
            return Err(Unreadable::Missing("to"));
        }
        change.revision = Some(revision_to_wire(ordered));
        Ok(Self { ordered, change })
    }

    /// How many services are still to be changed, as far as is known.
    pub(super) fn waiting(&self) -> u32 {
        let v1::BulkChange { services, done, left_alone_count, .. } = &self.change;
        services.saturating_sub(*done).saturating_sub(*left_alone_count)
    }

    /// How far it is, and who ordered it.
    pub(super) fn in_words(&self) -> String {
        let v1::BulkChange { actor, services, done, .. } = &self.change;
        let actor = if actor.is_empty() { "somebody" } else { actor };
        format!("{done} of {services} services, ordered by {actor}")
    }

    /// The refusal of another one while this one is under way.
    pub(super) fn under_way(&self) -> Error {
        let v1::BulkChange { actor, create_time, services, done, .. } = &self.change;
        Error::BulkChangeUnderWay {
            actor: actor.clone(),
            time: create_time.map(|time| time.to_string()).unwrap_or_default(),
            done: *done,
            services: *services,
        }
    }
}

/// Stores what is to be done, and how far it is.
pub(super) fn store(change: v1::BulkChange) -> Op {
    let record = storage::BulkPlan { schema_version: SCHEMA_VERSION, change: Some(change) };
    put(key::BULK.to_owned(), record.encode_to_vec().into())
}

/// A plan as it is stored, with the revision in it at which it was ordered, for a copy whose keys have other ones.
pub(crate) fn with_order(value: &Bytes, at: Revision) -> Bytes {
    match BulkPlan::decode(value, at) {
        Ok(plan) => {
            let change = v1::BulkChange { revision: plan.change.revision, ..v1::BulkChange::default() };
            let told = storage::BulkPlan { change: Some(change), ..storage::BulkPlan::default() };
            // Messages one behind the other are one message.
            [value, told.encode_to_vec().as_slice()].concat().into()
        }
        Err(_) => value.clone(),
    }
}

impl Shared {
    /// The plan that is under way. `None`: none is, or it cannot be read.
    pub(super) fn bulk_under_way(&self) -> Option<(StoreRevision, BulkPlan)> {
        let catalog = self.read();
        let bulk = catalog.bulk()?;
        bulk.plan.clone().filter(|plan| !plan.change.finished).map(|plan| (bulk.at, plan))
    }
}
