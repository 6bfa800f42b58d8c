use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// The limit that was in force when the last permit was given is a ceiling for the calls in flight. No other thread can
/// see both at once, so each one asks the limit right after it got in: a limit that shrank meanwhile is below it, and
/// a limit that only ever grows must not be.
#[test]
fn there_are_never_more_calls_in_flight_than_the_limit() {
    const CALLS: u32 = 50_000;
    let limit = aimd(1, 1, 100_000);
    let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (limit, running, most) = (&limit, &running, &most);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let Some(permit) = limit.try_acquire() else {
                        std::thread::yield_now();
                        continue;
                    };
                    let now = running.fetch_add(1, SeqCst) + 1;
                    most.fetch_max(now, SeqCst);
                    let Load { limit: in_force, in_flight } = limit.load();
                    assert!(now <= in_force && in_flight <= in_force, "{now} of {in_force}");
                    if call % 8 == 0 {
                        std::thread::yield_now();
                    }
                    running.fetch_sub(1, SeqCst);
                    match (call + thread) % 3 {
                        0 => drop(permit),
                        _ => permit.record(Lesson::Answered(MILLISECOND), Timestamp::from_millis((call * 50).into())),
                    }
                }
            });
        }
    });
    assert_eq!(limit.load().in_flight, 0);
    assert!(limit.load().limit > 1 && most.into_inner() > 1, "{limit:?}");
}

#[test]
fn permits_are_conserved_while_the_limit_and_the_policy_change() {
    const CALLS: u32 = 50_000;
    let limit = aimd(1, 4, 8);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4_u32)
            .map(|thread| {
                let limit = &limit;
                scope.spawn(move || {
                    for call in 0..CALLS {
                        let now = Timestamp::from_millis((call * 50).into());
                        let Some(permit) = limit.try_acquire() else { continue };
                        match (call / 16 + thread) % 4 {
                            0 => drop(permit),
                            1 => permit.record(Lesson::Nothing, now),
                            2 => permit.record(Lesson::Overload, now),
                            _ => permit.record(Lesson::Answered(MILLISECOND), now),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for round in 0_u32.. {
                if is_over.load(SeqCst) {
                    break;
                }
                let max = 1 + round % 8;
                limit.set_policy(&AdaptiveLimitPolicy { min: 1, initial: 1, max, ..policy(BOTH[round as usize % 2]) });
                assert!(limit.load().in_flight <= 8);
                std::thread::yield_now();
            }
        });
        let results: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        is_over.store(true, SeqCst);
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(limit.load().in_flight, 0);
    assert!((1..=8).contains(&limit.load().limit));
}
