//! The recent past, on made-up time.

use super::*;
use crate::time::Timestamp;

fn at(millis: u64) -> Timestamp {
    // Far from the origin, as an SDK's clock is.
    Timestamp::from_millis(86_400_000 + millis)
}

fn near(value: Option<Duration>, millis: u64) -> bool {
    value.is_some_and(|value| value.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(millis) / 17)
}

fn record(latency: &RecentLatency, times: u64, millis: u64) {
    (0..times).for_each(|_| latency.record(Duration::from_millis(millis)));
}

#[test]
fn enough_is_ten_expected_above_the_quantile() {
    assert_eq!([0.5, 0.9, 0.95, 0.99, 0.999].map(enough_for), [20, 100, 200, 1_000, 10_000]);
    assert_eq!(enough_for(1.0_f64.next_down()), 167_772_160);
}

#[test]
fn a_quantile_is_known_from_enough_latencies_on() {
    for (share, enough) in [(0.5, 20), (0.95, 200), (0.99, 1_000)] {
        let latency = RecentLatency::new();
        assert_eq!(latency.quantile(share, at(0)), None);
        record(&latency, enough - 1, 40);
        assert_eq!(latency.quantile(share, at(1_000)), None, "{share}");
        record(&latency, 1, 40);
        assert!(near(latency.quantile(share, at(2_000)), 40), "{share}");
    }
}

#[test]
fn an_answer_is_kept_for_a_quarter_of_a_second() {
    let at = |quarters: u64, nanos: u64| Timestamp::from_nanos((1_000_000 + quarters) * (1 << 28) + nanos);
    let latency = RecentLatency::new();
    assert_eq!(latency.quantile(0.5, at(0, 0)), None);
    record(&latency, 100, 40);
    assert_eq!(latency.quantile(0.5, at(0, (1 << 28) - 1)), None);
    assert!(near(latency.quantile(0.5, at(1, 0)), 40));
    record(&latency, 1_000, 80);
    assert!(near(latency.quantile(0.5, at(1, (1 << 28) - 1)), 40));
    assert!(near(latency.quantile(0.5, at(2, 0)), 80));
    assert!(near(latency.quantile(0.5, at(0, 0)), 80), "a caller that is late gets the newer answer");
    assert!(near(latency.quantile(0.05, at(2, 0)), 40), "another question has an answer of its own");
    assert!(near(latency.quantile(0.5, at(2, 0)), 80));
}

#[test]
fn what_is_older_than_half_a_minute_decides_nothing() {
    let latency = RecentLatency::new();
    assert_eq!(latency.quantile(0.5, at(0)), None);
    let pass = |second: u64, millis| {
        record(&latency, 20, millis);
        latency.quantile(0.5, at(second * 1_000))
    };
    assert!((1..=60).all(|second| near(pass(second, 2_000), 2_000)), "a slow minute");
    assert!((61..=90).all(|second| pass(second, 10).is_some()), "there is a recent past at any time");
    assert!((91..=120).all(|second| near(pass(second, 10), 10)), "a fast minute");
    assert_eq!(latency.quantile(0.5, at(150_000)), None, "after a quiet time nothing is known");
    record(&latency, 20, 70);
    assert!(near(latency.quantile(0.5, at(151_000)), 70));
    assert_eq!(latency.snapshot().count(), 2_420, "all that was counted is still there to be reported");
}

#[test]
fn the_window_is_never_shorter_than_fifteen_seconds() {
    let latency = RecentLatency::new();
    assert_eq!(latency.quantile(0.5, at(0)), None);
    for second in 1..=300 {
        record(&latency, 2, 40);
        let known = latency.quantile(0.5, at(second * 1_000)).is_some();
        // 15 seconds hold 30 latencies, of which 20 are enough.
        assert_eq!(known, second >= 10, "second {second}");
    }
}

#[test]
fn callers_at_once_all_get_an_answer_of_their_own_share() {
    let latency = RecentLatency::new();
    assert_eq!(latency.quantile(0.5, at(0)), None);
    record(&latency, 900, 10);
    record(&latency, 100, 90);
    std::thread::scope(|scope| {
        for (share, millis) in [(0.5, 10), (0.95, 90)] {
            let latency = &latency;
            scope.spawn(move || {
                for millisecond in 1_000..14_000 {
                    // None while another caller is at it: rather no answer than another share's.
                    let quantile = latency.quantile(share, at(millisecond));
                    assert!(quantile.is_none() || near(quantile, millis), "{share}: {quantile:?}");
                }
            });
        }
    });
}
