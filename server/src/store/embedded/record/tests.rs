use super::*;

fn entry(key: &str, value: &'static str, lease: u64) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
        create_revision: StoreRevision::new(3),
        mod_revision: StoreRevision::new(9),
        lease: LeaseId::new(lease),
    }
}

fn batch() -> WatchBatch {
    let revision = StoreRevision::new(9);
    let events = vec![
        WatchEvent::Put(entry("a", "value", 0)),
        WatchEvent::Delete { key: "b".to_owned(), mod_revision: revision },
        WatchEvent::Put(entry("c", "", 7)),
    ];
    WatchBatch { revision, events }
}

#[test]
fn reads_back_what_was_written() {
    for entry in [entry("k", "value", 0), entry("k", "", 7)] {
        assert_eq!(decode_entry(b"k", &encode_entry(&entry)), Ok(entry));
    }
    assert_eq!(decode_batch(9, &encode_batch(&batch())), Ok(batch()));
}

#[test]
fn refuses_a_batch_cut_anywhere_and_never_panics_on_a_changed_byte() {
    let whole = encode_batch(&batch());
    let starts: Vec<usize> = (0..=2)
        .map(|count| encode_batch(&WatchBatch { events: batch().events[..count].to_vec(), ..batch() }).len())
        .collect();
    for cut in 0..whole.len() {
        let read = decode_batch(9, &whole[..cut]);
        assert_eq!(read.is_ok(), starts.contains(&cut), "cut at {cut}: {read:?}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0xff;
        let _ = decode_batch(9, &changed);
    }
}

#[test]
fn refuses_impossible_contents() {
    let good = encode_entry(&entry("k", "", 0));
    assert_eq!(decode_entry(b"", &good), Err(Malformed("an impossible key")));
    assert_eq!(decode_entry(b"\xff", &good), Err(Malformed("a key that is not text")));
    let mut reversed = entry("k", "", 0);
    reversed.create_revision = StoreRevision::new(10);
    assert_eq!(decode_entry(b"k", &encode_entry(&reversed)), Err(Malformed("made after it was changed")));
    assert_eq!(decode_batch(8, &encode_batch(&batch())), Err(Malformed("an event of another revision")));
}
