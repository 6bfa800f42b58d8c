//! What the store says it held, from its first revision to its last.

use super::{Position, Value, fields::value_of};
use bytes::Bytes;
use cofferdam_proto::storage::v1::{ServiceRecord, StoreMeta};
use prost::Message;
use std::collections::BTreeMap;

/// One key that one transaction of the store has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The store's revision of the transaction.
    pub revision: u64,
    /// The key, as the manager names it.
    pub key: String,
    /// What it was set to. `None`: it was deleted.
    pub value: Option<Bytes>,
}

/// A change of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub at: Position,
    /// What the service was from then on. `None`: it was gone.
    pub value: Option<Value>,
}

/// All that the store has ever held, in order.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    pub(super) services: BTreeMap<String, Vec<Change>>,
    /// By request id, where its record was made.
    pub(super) requests: BTreeMap<String, Vec<Position>>,
    /// The last revision of all.
    pub(super) head: Position,
}

impl Witness {
    /// Reads the store's log. The epoch of a revision is the one that the store's description named last before it.
    ///
    /// # Panics
    ///
    /// If the log goes back, or holds what no manager would write.
    pub fn of(log: &[LogEntry]) -> Self {
        let mut witness = Self::default();
        let mut epoch = 0;
        for LogEntry { revision, key, value } in log {
            if let (Some(value), "meta/store") = (value, &key[..]) {
                epoch = StoreMeta::decode(value.clone()).expect("meta/store is one").epoch;
            }
            let at = (epoch, *revision);
            assert!(at >= witness.head, "the witness goes back from {:?} to {at:?}", witness.head);
            witness.head = at;
            match (key.split_once('/'), value) {
                (Some(("service", name)), value) => {
                    let name = name.strip_prefix("default/").unwrap_or(name);
                    let value = value.clone().map(|value| service_value(name, value));
                    witness.add_change(name, Change { at, value });
                }
                // The end of a record is the end of its lease.
                (Some(("request", id)), Some(_)) => witness.requests.entry(unhex(id)).or_default().push(at),
                _ => {}
            }
        }
        witness
    }

    pub(super) fn add_change(&mut self, service: &str, change: Change) {
        self.head = self.head.max(change.at);
        self.services.entry(service.to_owned()).or_default().push(change);
    }

    /// What changed a service, in order.
    pub fn changes(&self, service: &str) -> &[Change] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }

    /// What a service was made to at this very revision.
    pub fn at(&self, service: &str, at: Position) -> Option<&Change> {
        let changes = self.changes(service);
        changes.binary_search_by_key(&at, |change| change.at).ok().map(|index| &changes[index])
    }

    /// Where a service is at the end. `None`: there was never one.
    pub fn newest(&self, service: &str) -> Option<Position> {
        self.changes(service).last().map(|change| change.at)
    }
}

fn service_value(name: &str, record: Bytes) -> Value {
    let record = ServiceRecord::decode(record).unwrap_or_else(|error| panic!("the record of {name}: {error}"));
    value_of(record.policy.as_ref())
}

/// A request id, which is in hex in its key.
fn unhex(hex: &str) -> String {
    let byte = |index: usize| u8::from_str_radix(hex.get(index..index + 2).unwrap_or("?"), 16);
    let bytes: Result<Vec<u8>, _> = (0..hex.len()).step_by(2).map(byte).collect();
    String::from_utf8(bytes.expect("request ids are in hex")).expect("request ids are text")
}
