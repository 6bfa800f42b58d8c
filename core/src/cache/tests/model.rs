//! The cache against a list of answers in the order in which they were stored.

use super::*;
use crate::tests::property;
use proptest::prelude::*;

/// Times come in steps, in milliseconds, so that ages meet their limits.
const UNIT: u64 = 250;

/// Key, answer and when it was stored.
type Entry = (u8, Bytes, u64);

#[derive(Clone, Copy, Debug)]
enum Step {
    Store { key: u8, bytes: usize },
    LookUp { key: u8 },
    Pass(u64),
    Apply(usize),
}

fn step(bits: u64) -> Step {
    let key = (bits >> 8) as u8 % 9;
    match bits & 15 {
        0..=5 => Step::Store { key, bytes: (bits >> 16) as usize % 8 },
        6..=12 => Step::LookUp { key },
        13 => Step::Pass((bits >> 20) % 4 * UNIT),
        14 => Step::Pass((bits >> 20) % 80 * UNIT),
        _ => Step::Apply((bits >> 24) as usize % 2),
    }
}

/// Answers live as long as both times together, and what leaves leaves in the order in which it came.
fn store(entries: &mut Vec<Entry>, policy: &CachedFallback, key: u8, payload: Bytes, now: u64) {
    if payload.len() > policy.max_entry_bytes as usize {
        return;
    }
    entries.retain(|(other, ..)| *other != key);
    entries.push((key, payload, now));
    let mut is_first_kept = false;
    let surplus = entries.len().saturating_sub(policy.max_entries as usize);
    let mut seen = 0;
    entries.retain(|(.., stored)| {
        seen += 1;
        is_first_kept |= seen > surplus && now - stored < lifetime(policy);
        is_first_kept
    });
}

fn lifetime(policy: &CachedFallback) -> u64 {
    (policy.ttl + policy.stale_if_error).as_millis() as u64
}

#[test]
fn agrees_with_a_list_of_answers() {
    let policy = (0_u64..40, 0_u64..80, 1_u32..7, 1_u32..7).prop_map(|(ttl, stale, max_entries, max_entry_bytes)| {
        let (ttl, stale_if_error) = (Duration::from_millis(ttl * UNIT), Duration::from_millis(stale * UNIT));
        let sizes = CachedFallback { max_entries, max_entry_bytes, ..CachedFallback::default() };
        CachedFallback { ttl, stale_if_error, ..sizes }
    });
    let steps = prop::collection::vec(any::<u64>().prop_map(step), 0..400);
    property(400, (prop::array::uniform2(policy), steps), |(policies, steps)| {
        let (cache, mut entries, mut policy, mut now) = (AnswerCache::new(), Vec::<Entry>::new(), &policies[0], 7);
        for (number, step) in steps.into_iter().enumerate() {
            let at = Timestamp::from_millis(now);
            match step {
                Step::Pass(millis) => now += millis,
                Step::Apply(which) => policy = &policies[which],
                Step::Store { key, bytes } => {
                    let payload = Bytes::from(vec![number as u8; bytes]);
                    cache.store(policy, CacheKey::new("pkg.S/M", &[key]), payload.clone(), at);
                    store(&mut entries, policy, key, payload, now);
                    prop_assert_eq!(cache.len(), entries.len());
                }
                Step::LookUp { key } => {
                    let found = cache.lookup(policy, &CacheKey::new("pkg.S/M", &[key]), at);
                    let found = found.map(|answer| (answer.payload, answer.age.as_millis() as u64, answer.is_fresh));
                    let kept = entries.iter().find(|(other, ..)| *other == key);
                    let alive = kept.filter(|(.., stored)| now - stored < lifetime(policy));
                    let expected = alive.map(|(_, payload, stored)| {
                        (payload.clone(), now - stored, now - stored < policy.ttl.as_millis() as u64)
                    });
                    prop_assert_eq!(found, expected);
                }
            }
        }
        Ok(())
    });
}
