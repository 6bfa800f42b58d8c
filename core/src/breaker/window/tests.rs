#[cfg(any(loom, shuttle))]
mod models;

use super::*;
use crate::policy::TimeWindow;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn time(seconds: u64) -> BreakerWindow {
    BreakerWindow::Time(TimeWindow { length: Duration::from_secs(seconds), buckets: 10 })
}

/// A window with two successes, one of them slow, and three failures, two of them slow.
fn window(shape: BreakerWindow) -> Window {
    let window = Window::new(shape);
    for (is_failure, is_slow) in [(false, false), (false, true), (true, false), (true, true), (true, true)] {
        window.add(0, Sample { is_failure, is_slow }, NOW);
    }
    window
}

const FULL: Totals = Totals { successes: 2, failures: 3, slow: 3 };

#[test]
fn a_call_counts_once_whatever_it_was() {
    for shape in [time(30), BreakerWindow::Count(50)] {
        assert_eq!(window(shape).totals(0, NOW), FULL, "{shape:?}");
        assert_eq!(window(shape).totals(1, NOW), Totals::default(), "{shape:?}");
    }
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[test]
fn t24_another_shape_starts_empty_even_where_it_was_there_before() {
    let shapes = [time(30), time(60), BreakerWindow::Count(50), BreakerWindow::Count(5)];
    for first in shapes {
        for second in shapes {
            let window = window(first);
            window.reshape(second);
            let kept = if first == second { FULL } else { Totals::default() };
            assert_eq!(window.totals(0, NOW), kept, "{first:?} {second:?}");
            window.reshape(first);
            assert_eq!(window.totals(0, NOW), kept, "{first:?} {second:?}");
            window.add(0, Sample { is_failure: true, is_slow: false }, NOW);
            assert_eq!(window.totals(0, NOW).failures, kept.failures + 1);
        }
    }
}

/// Seen in <https://github.com/redis/go-redis/issues/3836>, <https://github.com/samber/slog-sampling/issues/58>,
/// <https://github.com/alibaba/Sentinel/issues/3309>.
#[test]
fn t17_a_window_that_changes_its_shape_under_load_counts_again_at_once() {
    let window = Window::new(time(30));
    let shapes = [BreakerWindow::Count(1_000), time(60), BreakerWindow::Count(900), time(30)];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let window = &window;
            scope.spawn(move || {
                for number in 0..20_000 {
                    window.add(0, Sample { is_failure: (number + thread) % 2 == 0, is_slow: false }, NOW);
                }
            });
        }
        for shape in shapes.into_iter().cycle().take(400) {
            window.reshape(shape);
            assert!(window.totals(0, NOW).calls() <= 80_000);
        }
    });
    window.reshape(time(10));
    for number in 0..7 {
        window.add(0, Sample { is_failure: number < 3, is_slow: false }, NOW);
    }
    assert_eq!(window.totals(0, NOW), Totals { successes: 4, failures: 3, slow: 0 });
}

const FAILURE: Sample = Sample { is_failure: true, is_slow: false };
const SUCCESS: Sample = Sample { is_failure: false, is_slow: false };

/// A window that takes all cells but one, and a clock that is two buckets ahead: it takes the oldest cell over between the
/// failure that completes the threshold and its look at the totals.
#[test]
fn a_failure_decides_by_what_there_was_when_it_counted() {
    for buckets in [15, 63] {
        let at = |tick: u64| Timestamp::from_millis(10_000 * u64::from(buckets) + tick);
        let length = Duration::from_millis(buckets.into());
        let window = Window::new(BreakerWindow::Time(TimeWindow { length, buckets }));
        let last = u64::from(buckets) - 1;
        window.add(0, SUCCESS, at(0));
        window.add(0, FAILURE, at(0));
        let seen = window.add(0, FAILURE, at(last));
        window.add(0, FAILURE, at(last + 2));
        window.add(0, SUCCESS, at(last + 2));
        assert_eq!(
            window.totals(0, at(last)),
            Totals { successes: 0, failures: 1, slow: 0 },
            "the oldest cell is gone"
        );
        let decides_by = window.totals_after(seen, 0, at(last));
        assert_eq!(decides_by, Totals { successes: 1, failures: 2, slow: 0 });
    }
}

/// As above, but what the glance was of is another window now.
#[test]
fn a_glance_says_nothing_of_a_window_of_another_shape() {
    let window = Window::new(time(30));
    let seen = window.add(0, FAILURE, NOW);
    window.reshape(time(60));
    window.reshape(time(30));
    assert_eq!(window.totals_after(seen, 0, NOW), Totals::default());
}

/// The first failure of a bucket came before its successes, so all that it kept for the others was that there are none.
#[test]
fn whoever_has_summed_spares_the_next_failure_of_a_busy_bucket_the_sum() {
    let window = Window::new(time(30));
    let glance = || match window.add(0, FAILURE, NOW) {
        Seen::Glance(glance) => glance,
        seen => panic!("{seen:?}"),
    };
    glance();
    for _ in 0..100 {
        window.add(0, SUCCESS, NOW);
    }
    let second = glance();
    assert_eq!(second.companions, 0);
    window.totals_after(Seen::Glance(second), 0, NOW);
    assert_eq!((glance().companions, glance().sum), (100, 4));
    let late = NOW.saturating_add(Duration::from_secs(3));
    window.add(0, FAILURE, late);
    window.totals_after(Seen::Glance(second), 0, NOW);
    window.add(0, SUCCESS, late);
    let Seen::Glance(next) = window.add(0, FAILURE, late) else { panic!("its bucket is kept") };
    assert_eq!(next.companions, 100, "what is kept of another bucket is not raised");
}
