mod model;
mod refreshing;

use super::*;
use crate::policy::FallbackTrigger;
use proptest::collection::vec;
use proptest::prelude::*;

fn policy() -> CachedFallback {
    CachedFallback {
        ttl: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(20),
        max_entries: 3,
        max_entry_bytes: 4,
        ..CachedFallback::default()
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
    assert_eq!((cache.len(), cache.lock().keys_in_order().len()), (3, 3));
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

#[test]
fn all_answers_and_their_keys_together_are_bounded() {
    let narrow = CachedFallback { max_bytes: 36, ..policy() };
    let cache = AnswerCache::new();
    let store = |name: &str, payload: &'static str, second| cache.store(&narrow, key(name), payload.into(), at(second));
    // The method has seven bytes, each name one.
    for (second, name) in ["a", "b", "c"].into_iter().enumerate() {
        store(name, "1234", second as u64);
    }
    assert_eq!((cache.bytes(), kept(&cache, &["a", "b", "c"], at(3))), (36, vec!["a", "b", "c"]));
    store("b", "1", 3);
    store("c", "1", 3);
    assert_eq!(cache.bytes(), 30);
    store("bb", "12", 4);
    assert_eq!((cache.bytes(), kept(&cache, &["a", "b", "c", "bb"], at(4))), (29, vec!["b", "c", "bb"]));
    cache.forget(&key("b"));
    cache.forget(&key("b"));
    assert_eq!(cache.bytes(), 20);
}

#[test]
fn an_answer_larger_than_all_may_be_drives_out_none() {
    let tiny = CachedFallback { max_bytes: 11, ..policy() };
    let cache = AnswerCache::new();
    cache.store(&tiny, key("a"), Bytes::from("123"), at(0));
    cache.store(&tiny, key("b"), Bytes::from("1234"), at(0));
    assert_eq!(kept(&cache, &["a", "b"], at(0)), ["a"]);
}

#[test]
fn what_the_service_has_taken_back_is_forgotten() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    store(&cache, "b", "1", at(0));
    cache.forget(&key("a"));
    assert_eq!((kept(&cache, &["a", "b"], at(0)), cache.len()), (vec!["b"], 1));
}

/// What a test does to a cache.
#[derive(Clone, Debug)]
enum Step {
    Store { name: u8, bytes: usize },
    Forget { name: u8 },
    StandIn { name: u8 },
    Wait { seconds: u64 },
    Bounds { max_entries: u32, max_bytes: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..8_u8, 0..30_usize).prop_map(|(name, bytes)| Step::Store { name, bytes }),
        1 => (0..8_u8).prop_map(|name| Step::Forget { name }),
        1 => (0..8_u8).prop_map(|name| Step::StandIn { name }),
        1 => (0..20_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => (1..6_u32, 20..120_u32).prop_map(|(max_entries, max_bytes)| Step::Bounds { max_entries, max_bytes }),
    ]
}

proptest! {
    /// Against a list of what was stored, oldest first.
    #[test]
    fn bytes_and_order_are_exact(steps in vec(step(), 1..200)) {
        let cache = AnswerCache::new();
        let mut policy = CachedFallback { max_entry_bytes: 25, ..policy() };
        let mut now = at(0);
        let mut model: Vec<(u8, usize, Timestamp, bool)> = Vec::new();
        let of = |name: u8| CacheKey::new("m", &[name]);
        for step in steps {
            match step {
                Step::Store { name, bytes } => {
                    cache.store(&policy, of(name), vec![0; bytes].into(), now);
                    let is_kept = bytes <= 25 && bytes + 2 <= policy.max_bytes as usize;
                    for entry in model.iter_mut().filter(|entry| entry.0 == name) {
                        entry.3 = false;
                    }
                    if is_kept {
                        model.retain(|entry| entry.0 != name);
                        model.push((name, bytes, now, false));
                        let too_many = |model: &[(u8, usize, Timestamp, bool)]| {
                            model.len() > policy.max_entries as usize
                                || model.iter().map(|entry| entry.1 + 2).sum::<usize>() > policy.max_bytes as usize
                                || now.saturating_since(model[0].2) >= lifetime(&policy)
                        };
                        while too_many(&model) {
                            model.remove(0);
                        }
                    }
                }
                Step::Forget { name } => {
                    cache.forget(&of(name));
                    model.retain(|entry| entry.0 != name);
                }
                Step::StandIn { name } => {
                    cache.stood_in(&of(name), FallbackTrigger::Failure);
                    for entry in model.iter_mut().filter(|entry| entry.0 == name) {
                        entry.3 = true;
                    }
                }
                Step::Wait { seconds } => now = now.saturating_add(Duration::from_secs(seconds)),
                Step::Bounds { max_entries, max_bytes } => {
                    policy = CachedFallback { max_entries, max_bytes, ..policy };
                }
            }
            prop_assert_eq!(cache.bytes(), model.iter().map(|entry| entry.1 as u64 + 2).sum::<u64>());
            let order: Vec<CacheKey> = model.iter().map(|entry| of(entry.0)).collect();
            prop_assert_eq!(cache.lock().keys_in_order(), order);
            prop_assert_eq!(cache.takes_turns(), model.iter().any(|entry| entry.3));
        }
    }
}

#[test]
fn shrinking_drops_those_stored_longest_ago() {
    let (cache, policy) = (AnswerCache::new(), CachedFallback::default());
    assert_eq!(cache.weight(), 0);
    let key = |n: u8| CacheKey::new("m", &[n]);
    for n in 0..4 {
        cache.store(&policy, key(n), Bytes::from(vec![n; 98]), Timestamp::from_millis(n.into()));
    }
    let each = 100 + ENTRY_BYTES;
    assert_eq!(cache.weight(), 4 * each);
    cache.shrink_to(3 * each);
    assert_eq!((cache.len(), cache.weight()), (3, 3 * each));
    cache.shrink_to(3 * each - 1);
    let kept = (0..4).filter(|n| cache.lookup(&policy, &key(*n), Timestamp::from_millis(9)).is_some());
    assert_eq!(kept.collect::<Vec<_>>(), [2, 3]);
    cache.stood_in(&key(2), FallbackTrigger::Failure);
    cache.shrink_to(0);
    assert!(cache.is_empty() && !cache.takes_turns());
}
