//! How entries and transactions are written to the file: little-endian integers and raw bytes, no padding.
//!
//! Decoding takes nothing for granted. The file may have been damaged where no checksum saw it, or written by somebody
//! else: whatever does not read back as something this module could have written is [`Malformed`].

use bytes::Bytes;

use crate::store::{Entry, LeaseId, StoreRevision, WatchBatch, WatchEvent, txn::check_key};

/// Bytes that are no record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

const DELETE: u8 = 0;
const PUT: u8 = 1;

/// `create_revision, mod_revision, lease (0: none), value`; the key is the table's key.
pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + entry.value.len());
    out.extend(entry.create_revision.get().to_le_bytes());
    out.extend(entry.mod_revision.get().to_le_bytes());
    out.extend(entry.lease.map_or(0, LeaseId::get).to_le_bytes());
    out.extend(&entry.value);
    out
}

pub(super) fn decode_entry(key: &[u8], record: &[u8]) -> Result<Entry, Malformed> {
    let mut input = Input(record);
    let create_revision = StoreRevision::new(input.u64()?);
    let mod_revision = StoreRevision::new(input.u64()?);
    let lease = LeaseId::new(input.u64()?);
    if create_revision > mod_revision {
        return Err(Malformed("made after it was changed"));
    }
    Ok(Entry { key: decode_key(key)?, value: Bytes::copy_from_slice(input.0), create_revision, mod_revision, lease })
}

/// The batch's events one after the other; its revision is the table's key.
pub(super) fn encode_batch(batch: &WatchBatch) -> Vec<u8> {
    let mut out = Vec::new();
    for event in &batch.events {
        match event {
            WatchEvent::Put(entry) => {
                let record = encode_entry(entry);
                out.push(PUT);
                push_bytes(&mut out, entry.key.as_bytes());
                push_bytes(&mut out, &record);
            }
            WatchEvent::Delete { key, .. } => {
                out.push(DELETE);
                push_bytes(&mut out, key.as_bytes());
            }
        }
    }
    out
}

pub(super) fn decode_batch(revision: u64, record: &[u8]) -> Result<WatchBatch, Malformed> {
    let revision = StoreRevision::new(revision);
    let mut input = Input(record);
    let mut events = Vec::new();
    while !input.0.is_empty() {
        let kind = input.take(1)?;
        let key = input.bytes()?;
        events.push(match kind {
            [PUT] => WatchEvent::Put(decode_entry(key, input.bytes()?)?),
            [DELETE] => WatchEvent::Delete { key: decode_key(key)?, mod_revision: revision },
            _ => return Err(Malformed("unknown kind of event")),
        });
    }
    let foreign = |event: &WatchEvent| matches!(event, WatchEvent::Put(entry) if entry.mod_revision != revision);
    if events.iter().any(foreign) {
        return Err(Malformed("an event of another revision"));
    }
    Ok(WatchBatch { revision, events })
}

fn decode_key(key: &[u8]) -> Result<String, Malformed> {
    let key = std::str::from_utf8(key).map_err(|_| Malformed("a key that is not text"))?;
    check_key(key).map_err(|_| Malformed("an impossible key"))?;
    Ok(key.to_owned())
}

/// A length and the bytes. The checks of a transaction keep every length far below 4 GiB.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("too short"))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = u32::from_le_bytes(self.array()?);
        self.take(count as usize)
    }
}

#[cfg(test)]
mod tests;
