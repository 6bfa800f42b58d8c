use super::*;

fn put(key: &str, bytes: usize) -> Txn {
    Txn::new().put(key, vec![0; bytes])
}

#[test]
fn accepts_everything_up_to_the_limits() {
    assert_eq!(Txn::new().check(), Ok(()));
    assert_eq!(put(&"k".repeat(MAX_KEY_BYTES), MAX_VALUE_BYTES).check(), Ok(()));
    let mut txn = Txn::new();
    for i in 0..MAX_OPS {
        txn = txn.put(format!("k{i}"), "").require_absent(format!("k{i}"));
    }
    assert_eq!(txn.check(), Ok(()));
}

#[test]
fn refuses_what_exceeds_a_limit_by_one() {
    assert_eq!(
        put(&"k".repeat(MAX_KEY_BYTES + 1), 0).check(),
        Err(InvalidRequest::KeyTooLong { bytes: MAX_KEY_BYTES + 1 })
    );
    assert_eq!(
        put("k", MAX_VALUE_BYTES + 1).check(),
        Err(InvalidRequest::ValueTooLarge { key: "k".into(), bytes: MAX_VALUE_BYTES + 1 })
    );
    let ops = (0..=MAX_OPS).fold(Txn::new(), |txn, i| txn.delete(format!("k{i}")));
    assert_eq!(ops.check(), Err(InvalidRequest::TooManyOps { count: MAX_OPS + 1 }));
    let conditions = (0..=MAX_OPS).fold(Txn::new(), |txn, i| txn.require_absent(format!("k{i}")));
    assert_eq!(conditions.check(), Err(InvalidRequest::TooManyPreconditions { count: MAX_OPS + 1 }));
    let fat = (0..5).fold(Txn::new(), |txn, i| txn.put(format!("k{i}"), vec![0; MAX_VALUE_BYTES]));
    assert_eq!(fat.check(), Err(InvalidRequest::TxnTooLarge { bytes: 5 * (MAX_VALUE_BYTES + 2) }));
}

#[test]
fn refuses_one_key_twice() {
    let duplicate = Err(InvalidRequest::DuplicateKey { key: "a".into() });
    assert_eq!(Txn::new().put("a", "1").delete("a").check(), duplicate);
    assert_eq!(Txn::new().require_absent("a").require_revision("a", StoreRevision::new(1)).check(), duplicate);
}

#[test]
fn refuses_keys_that_are_not_visible_ascii() {
    assert_eq!(put("", 0).check(), Err(InvalidRequest::KeyEmpty));
    for key in ["a b", "a\0", "tab\t", "p\u{e4}yments", "\u{202e}x", "line\n", "del\u{7f}"] {
        let refused = Err(InvalidRequest::KeyCharacter { key: key.escape_default().collect() });
        assert_eq!(put(key, 0).check(), refused);
        assert_eq!(Txn::new().delete(key).check(), refused);
        assert_eq!(Txn::new().require_absent(key).check(), refused);
        assert_eq!(check_prefix(key), refused);
    }
    assert_eq!(check_prefix(""), Ok(()));
}

#[test]
fn debug_output_shows_sizes_and_not_values() {
    let shown = format!("{:?}", Txn::new().put("k", "canary"));
    assert!(shown.contains("value_bytes: 6") && !shown.contains("canary"), "{shown}");
}
