//! One call at a time refreshes a stale answer.

use super::*;

/// An answer that was stored at 0 s, is stale from 10 s, gone from 30 s, and has stood in.
fn failing() -> AnswerCache {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    cache.stood_in(&key("a"), FallbackTrigger::Timeout);
    cache
}

fn turn<'a>(cache: &'a AnswerCache, name: &str, seconds: u64) -> Turn<'a> {
    cache.turn(&policy(), &key(name), at(seconds))
}

/// Seen in <https://github.com/getnora-io/nora/issues/532>.
#[test]
fn t40_of_all_calls_for_a_stale_answer_one_asks_the_service() {
    let cache = failing();
    let Turn::Live(Some(refresh)) = turn(&cache, "a", 15) else { panic!("nobody is asking yet") };
    for seconds in [15, 16, 24] {
        let Turn::Stale(answer, failed) = turn(&cache, "a", seconds) else {
            panic!("at {seconds} s somebody is asking")
        };
        assert_eq!((answer.age, answer.is_fresh), (Duration::from_secs(seconds), false));
        assert_eq!(failed, FallbackTrigger::Timeout);
    }
    drop(refresh);
    assert!(matches!(turn(&cache, "a", 24), Turn::Live(Some(_))), "the next one asks");
}

/// Seen in <https://github.com/getnora-io/nora/issues/532>.
#[test]
fn t40_past_its_time_nothing_stands_in() {
    let cache = failing();
    let _refresh = turn(&cache, "a", 29);
    assert!(matches!(turn(&cache, "a", 29), Turn::Stale(..)));
    assert!(matches!(turn(&cache, "a", 30), Turn::Live(None)));
}

#[test]
fn a_fresh_answer_keeps_no_call_from_the_service() {
    let cache = failing();
    let _refresh = turn(&cache, "a", 9);
    assert!(matches!(turn(&cache, "a", 9), Turn::Live(None)));
}

#[test]
fn a_stale_answer_of_a_service_that_has_not_failed_keeps_no_call_from_it() {
    let cache = AnswerCache::new();
    store(&cache, "a", "1", at(0));
    assert!(!cache.takes_turns());
    let _first = turn(&cache, "a", 15);
    assert!(matches!(turn(&cache, "a", 15), Turn::Live(None)));
}

#[test]
fn keys_take_turns_each_for_itself() {
    let cache = failing();
    store(&cache, "b", "1", at(0));
    cache.stood_in(&key("b"), FallbackTrigger::Failure);
    let _refresh = turn(&cache, "a", 15);
    assert!(matches!(turn(&cache, "b", 15), Turn::Live(Some(_))));
    assert!(matches!(turn(&cache, "c", 15), Turn::Live(None)));
}

#[test]
fn a_good_answer_ends_it_and_so_does_one_that_is_not_kept() {
    let stored = failing();
    store(&stored, "a", "2", at(15));
    let too_large = failing();
    store(&too_large, "a", "12345", at(15));
    let not_kept = failing();
    not_kept.refreshed(&key("a"));
    let taken_back = failing();
    taken_back.forget(&key("a"));
    for cache in [stored, too_large, not_kept, taken_back] {
        assert!(!cache.takes_turns());
        let _first = turn(&cache, "a", 26);
        assert!(matches!(turn(&cache, "a", 26), Turn::Live(None)));
    }
}

/// Its time may have no end: the deadlines are the policy's, and can be switched off.
///
/// Seen in <https://github.com/getnora-io/nora/issues/532>.
#[test]
fn t40_a_call_that_does_not_come_back_holds_the_others_off_for_a_while_only() {
    let cache = failing();
    let lost = turn(&cache, "a", 11);
    assert!(matches!(turn(&cache, "a", 20), Turn::Stale(..)));
    let next = turn(&cache, "a", 21);
    assert!(matches!(next, Turn::Live(Some(_))));
    drop(lost);
    assert!(matches!(turn(&cache, "a", 22), Turn::Stale(..)), "the turn is the next one's by now");
    drop(next);
    assert!(matches!(turn(&cache, "a", 22), Turn::Live(Some(_))));
}

#[test]
fn a_turn_outlives_its_answer() {
    let cache = failing();
    let refresh = turn(&cache, "a", 15);
    cache.forget(&key("a"));
    store(&cache, "a", "2", at(16));
    cache.stood_in(&key("a"), FallbackTrigger::Failure);
    let _other = turn(&cache, "a", 26);
    drop(refresh);
    assert!(matches!(turn(&cache, "a", 26), Turn::Stale(..)), "it was the turn of another answer");
}

#[test]
fn of_racing_calls_exactly_one_has_the_turn() {
    let cache = failing();
    for _ in 0..500 {
        let barrier = std::sync::Barrier::new(4);
        let live: usize = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let turn = turn(&cache, "a", 15);
                        barrier.wait();
                        usize::from(matches!(turn, Turn::Live(_)))
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).sum()
        });
        assert_eq!(live, 1);
    }
}
