//! Answers, encoded and framed for the wire.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::{
    revision::Revision,
    wire::{duration_to_wire, revision_to_wire},
};
use cofferdam_proto::{
    framed,
    v1::{self, sync_response::Message as Answer},
};

use tokio::time::Instant;

use crate::{hints::Hint, registry::Change};

/// A policy to apply, or the removal of one.
pub(super) fn change(change: &Change) -> Bytes {
    match change {
        Change::Updated(registered) => registered.update_frame(),
        Change::Removed { key, revision } => encode(Answer::Removal(v1::PolicyRemoval {
            service: key.name.to_string(),
            revision: Some(revision_to_wire(*revision)),
        })),
    }
}

/// Breakers have opened elsewhere. `None`: that was too long ago.
pub(super) fn hint(hint: &Hint, now: Instant) -> Option<Bytes> {
    let ttl = hint.ends_in(now);
    let answer = || {
        encode(Answer::FleetHint(v1::FleetHint {
            service: hint.key.name.to_string(),
            ttl: Some(duration_to_wire(ttl)),
            open_instances: hint.census.open,
            instances: hint.census.instances,
        }))
    };
    (!ttl.is_zero()).then(answer)
}

/// All that was asked for has been sent.
pub(super) fn complete(head: Revision, reconnect_within: Duration) -> Bytes {
    let (revision, reconnect_within) = (Some(revision_to_wire(head)), Some(duration_to_wire(reconnect_within)));
    encode(Answer::Complete(v1::SyncComplete { revision, reconnect_within }))
}

/// The stream is alive and nothing is missing.
pub(super) fn bookmark(head: Revision, reconnect_within: Duration) -> Bytes {
    let (revision, reconnect_within) = (Some(revision_to_wire(head)), Some(duration_to_wire(reconnect_within)));
    encode(Answer::Bookmark(v1::SyncBookmark { revision, reconnect_within }))
}

/// Come again on another connection.
pub(super) fn reconnect(within: Duration) -> Bytes {
    encode(Answer::Reconnect(v1::SyncReconnect { within: Some(duration_to_wire(within)) }))
}

fn encode(answer: Answer) -> Bytes {
    framed(&v1::SyncResponse { message: Some(answer) })
}
