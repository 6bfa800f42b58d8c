use super::*;

fn policy() -> CachedFallback {
    CachedFallback {
        ttl: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(20),
        max_entries: 3,
        max_entry_bytes: 4,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn key(name: &str) -> CacheKey {
    CacheKey::new("pkg.S/M", name.as_bytes())
}

fn store(cache: &AnswerCache, name: &str, payload: &'static str, now: Timestamp) {
    cache.store(&policy(), key(name), Bytes::from_static(payload.as_bytes()), now);
}

fn lookup(cache: &AnswerCache, name: &str, now: Timestamp) -> Option<CachedAnswer> {
    cache.lookup(&policy(), &key(name), now)
}

/// Which of these names have an answer.
fn kept<'a>(cache: &AnswerCache, names: &[&'a str], now: Timestamp) -> Vec<&'a str> {
    names.iter().copied().filter(|name| lookup(cache, name, now).is_some()).collect()
}

#[test]
fn an_answer_is_fresh_then_stale_then_gone() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(5));
    let answer = |now: Timestamp| lookup(&cache, "a", now).map(|answer| (answer.age.as_millis(), answer.is_fresh));
    assert_eq!(answer(at(5)), Some((0, true)));
    assert_eq!(answer(Timestamp::from_millis(14_999)), Some((9_999, true)));
    assert_eq!(answer(at(15)), Some((10_000, false)));
    assert_eq!(answer(Timestamp::from_millis(34_999)), Some((29_999, false)));
    assert_eq!(answer(at(35)), None);
    assert_eq!(answer(at(4)), Some((0, true)), "another thread's clock may be behind");
}

#[test]
fn without_stale_if_error_nothing_stale_is_given() {
    let strict = CachedFallback { stale_if_error: Duration::ZERO, ..policy() };
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    assert!(cache.lookup(&strict, &key("a"), Timestamp::from_millis(9_999)).unwrap().is_fresh);
    assert_eq!(cache.lookup(&strict, &key("a"), at(10)), None);
    assert!(lookup(&cache, "a", at(10)).is_some(), "a look-up changes nothing");
}

#[test]
fn the_last_answer_counts() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(1));
    store(&cache, "a", "2", at(2));
    store(&cache, "a", "0", at(1));
    let answer = lookup(&cache, "a", at(3)).unwrap();
    assert_eq!((answer.payload, answer.age, cache.len()), (Bytes::from("2"), Duration::from_secs(1), 1));
}

#[test]
fn keys_and_methods_are_apart() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    assert_eq!(lookup(&cache, "b", at(0)), None);
    assert_eq!(cache.lookup(&policy(), &CacheKey::new("pkg.S/N", b"a"), at(0)), None);
}

#[test]
fn what_was_stored_longest_ago_leaves() {
    let cache = AnswerCache::new();
    for (second, name) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        store(&cache, name, "1", at(second as u64));
        lookup(&cache, "b", at(second as u64));
    }
    assert_eq!(kept(&cache, &["a", "b", "c", "d"], at(5)), ["a", "c", "d"]);
    assert_eq!(cache.len(), 3);
}

#[test]
fn expired_answers_leave_first() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    store(&cache, "b", "1", at(1));
    store(&cache, "c", "1", at(29));
    assert_eq!(cache.len(), 3);
    store(&cache, "d", "1", at(31));
    assert_eq!(cache.len(), 2);
    assert_eq!(kept(&cache, &["a", "b", "c", "d"], at(31)), ["c", "d"]);
}

#[test]
fn memory_is_bounded_over_many_keys() {
    let cache = AnswerCache::new();
    for number in 0..10_000 {
        store(&cache, &number.to_string(), "1", at(0));
        store(&cache, "hot", "2", at(0));
    }
    let entries = cache.lock();
    assert_eq!((entries.by_key.len(), entries.by_number.len()), (3, 3));
}

#[test]
fn too_large_an_answer_leaves_the_last_one() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1234", at(0));
    store(&cache, "a", "12345", at(1));
    store(&cache, "b", "12345", at(1));
    assert_eq!(lookup(&cache, "a", at(2)).unwrap().payload, "1234");
    assert_eq!(cache.len(), 1);
}

#[test]
fn a_new_policy_applies_at_once() {
    let cache = AnswerCache::new();
    for name in ["a", "b", "c"] {
        store(&cache, name, "1", at(0));
    }
    let fewer = CachedFallback { max_entries: 1, ..policy() };
    cache.store(&fewer, key("d"), Bytes::from("1"), at(0));
    assert_eq!(kept(&cache, &["a", "b", "c", "d"], at(0)), ["d"]);
    let longer = CachedFallback { ttl: Duration::MAX, ..policy() };
    assert!(cache.lookup(&longer, &key("d"), at(1_000_000)).unwrap().is_fresh);
    let none = CachedFallback { max_entries: 0, ..policy() };
    cache.store(&none, key("e"), Bytes::from("1"), at(0));
    assert!(cache.is_empty());
}

#[test]
fn a_slice_does_not_keep_its_buffer() {
    let cache = AnswerCache::new();
    let buffer = Bytes::from(vec![b'x'; 100_000]);
    cache.store(&policy(), key("a"), buffer.slice(10..13), at(0));
    assert!(buffer.is_unique());
    assert_eq!(lookup(&cache, "a", at(0)).unwrap().payload, "xxx");
}
