use super::*;
use cofferdam_core::stats::CounterSnapshot;
use proptest::prelude::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Calls that took so long each.
fn calls(calls: u64, took: Duration) -> Activity {
    let counters = CounterSnapshot { calls, served_live: calls, ..CounterSnapshot::default() };
    let mut activity = Activity { counters, ..Activity::default() };
    (0..calls).for_each(|_| activity.latencies.calls.record(took));
    activity
}

fn one() -> Activity {
    calls(1, Duration::from_millis(20))
}

fn over(history: &History, window: Duration, now: Duration) -> (Activity, Duration) {
    (history.over(window, now), period(window, now))
}

#[test]
fn a_slot_is_what_was_put_into_it() {
    let mut activity = calls(300, Duration::from_millis(20));
    activity.merge(&calls(7, Duration::from_secs(100)));
    activity.counters.rejected_adaptive_limit = u64::MAX;
    activity.latencies.attempts.record(Duration::ZERO);
    let slot = Slot::pack(&activity);
    assert_eq!(slot.unpack(), activity);
    assert!(slot.bytes() < 100, "{}", slot.bytes());
    assert_eq!(Slot::pack(&Activity::default()).unpack(), Activity::default());
}

#[test]
fn a_window_begins_with_the_slot_it_begins_in() {
    let mut history = History::default();
    for second in 0..100 {
        history.record(&one(), seconds(second));
    }
    let now = seconds(99);
    // From 30 s on, for 99 - 60 is in the slot that began then.
    let (activity, period) = over(&history, seconds(60), now);
    assert_eq!((activity.counters.calls, period), (70, seconds(69)));
    assert_eq!(activity, calls(70, Duration::from_millis(20)));
    let (activity, period) = over(&history, seconds(3600), now);
    assert_eq!((activity.counters.calls, period), (100, now), "no longer than the manager runs");
    let points = history.points(seconds(60), now);
    let shape: Vec<_> = points.iter().map(|point| (point.begin.as_secs(), point.activity.counters.calls)).collect();
    assert_eq!(shape, [(30, 10), (40, 10), (50, 10), (60, 10), (70, 10), (80, 10), (90, 10)]);
    assert_eq!(points.iter().map(|point| point.length.as_secs()).collect::<Vec<_>>(), [10, 10, 10, 10, 10, 10, 9]);
}

#[test]
fn an_hour_is_kept_in_short_slots_and_a_day_in_long_ones() {
    let mut history = History::default();
    let end = 30 * 3600;
    for slot in 0..end / 10 {
        history.record(&one(), seconds(slot * 10));
    }
    let now = seconds(end - 10);
    assert_eq!(history.over(seconds(3600), now).counters.calls, 361);
    // The day begins in the minute that it begins in.
    let (activity, period) = over(&history, LONGEST_WINDOW, now);
    assert_eq!((activity.counters.calls, period), (24 * 360 + 6, LONGEST_WINDOW + seconds(50)));
    let points = history.points(LONGEST_WINDOW, now);
    assert_eq!((points.len(), points[0].length), (1441, LONG));
    assert!(points[..1440].iter().all(|point| point.activity.counters.calls == 6));
    assert_eq!((history.shorts.len(), history.longs.len()), (360, 1440));
    assert_eq!(history.points(seconds(3600), now).len(), 361);
}

#[test]
fn what_is_idle_takes_nothing_and_is_forgotten_in_time() {
    let mut history = History::default();
    history.record(&Activity::default(), seconds(5));
    history.advance(seconds(1000));
    assert_eq!((history.bytes(), history.open.is_none()), (0, true));
    history.record(&one(), seconds(1005));
    history.advance(seconds(1070));
    assert_eq!((history.shorts.len(), history.longs.len()), (1, 1));
    history.advance(seconds(1000 + 3610));
    assert_eq!((history.shorts.len(), history.longs.len()), (0, 1));
    assert_eq!(history.over(LONGEST_WINDOW, seconds(5000)), one());
    history.advance(seconds(2 * 86_400));
    assert_eq!((history.bytes(), history.longs.len()), (0, 0));
}

/// A window answers alike whether or not somebody has come by to pack what is over, and however often it is asked.
#[test]
fn reading_changes_nothing_and_needs_no_housekeeping() {
    let fill = || {
        let mut history = History::default();
        (0..60).for_each(|slot| history.record(&one(), seconds(slot * 10)));
        history
    };
    let (untouched, mut packed) = (fill(), fill());
    let now = seconds(7000);
    packed.advance(now);
    for window in [seconds(60), seconds(3600), seconds(3601), seconds(6500), LONGEST_WINDOW] {
        let answer = untouched.over(window, now);
        assert_eq!((&packed.over(window, now), &untouched.over(window, now)), (&answer, &answer), "{window:?}");
        assert_eq!(packed.points(window, now), untouched.points(window, now), "{window:?}");
    }
}

#[test]
fn the_oldest_go_where_there_is_no_room() {
    let mut history = History::default();
    (0..1000).for_each(|slot| history.record(&one(), seconds(slot * 10)));
    let before = history.bytes();
    let forgotten = history.trim(before / 2);
    assert!(forgotten > 0 && history.bytes() <= before / 2);
    assert_eq!(history.longs.len(), 0, "the day goes before the hour");
    assert_eq!(history.shorts.back().unwrap().0, 998);
    let left = history.shorts.len() as u64;
    assert_eq!(history.trim(0), left);
    assert_eq!((history.bytes(), history.over(seconds(60), seconds(9995))), (0, one()), "what is open stays");
}

proptest! {
    /// Against a list of all that ever happened.
    #[test]
    fn windows_are_those_of_a_naive_list(
        steps in proptest::collection::vec((0_u64..400, 1_u64..4), 1..120),
        window in prop_oneof![1_u64..3600, 3601_u64..86_400],
        idle in 0_u64..5000,
    ) {
        let mut history = History::default();
        let (mut now, mut all) = (0, Vec::new());
        for (pause, count) in steps {
            now += pause;
            history.record(&calls(count, Duration::from_millis(count)), seconds(now));
            all.push((now, count));
        }
        now += idle;
        let length = if window > 3600 { 60 } else { 10 };
        let begin = now.saturating_sub(window) / length * length;
        let expected: u64 = all.iter().filter(|(at, _)| *at >= begin).map(|(_, count)| count).sum();
        let (activity, period) = over(&history, seconds(window), seconds(now));
        prop_assert_eq!((activity.counters.calls, period), (expected, seconds(now - begin)));
        prop_assert_eq!(activity.latencies.calls.count(), expected);
        let points = history.points(seconds(window), seconds(now));
        prop_assert_eq!(points.iter().map(|point| point.activity.counters.calls).sum::<u64>(), expected);
        prop_assert!(points.windows(2).all(|pair| pair[0].begin < pair[1].begin));
    }
}

/// The figures of docs/statistics.md.
#[test]
fn a_day_of_a_busy_service_takes_what_is_documented() {
    let mut history = History::default();
    let counters = CounterSnapshot {
        calls: 10_000,
        served_live: 9_900,
        served_static: 80,
        failed: 20,
        attempts: 10_100,
        attempt_successes: 9_900,
        attempt_failures: 200,
        retries: 100,
        ..CounterSnapshot::default()
    };
    let mut busy = Activity { counters, ..Activity::default() };
    // From 5 ms to 170 ms: five powers of two.
    for step in 0..40 {
        let took = Duration::from_micros(5000).mul_f64(1.0925_f64.powi(step));
        (0..250).for_each(|_| busy.latencies.calls.record(took));
    }
    busy.latencies.attempts = busy.latencies.calls.clone();
    let slot = Slot::pack(&busy).bytes();
    // More than a day.
    (0..9000).for_each(|slot| history.record(&busy, seconds(slot * 10)));
    assert!(slot < 400 && history.bytes() < 700_000, "{slot} {}", history.bytes());
}
