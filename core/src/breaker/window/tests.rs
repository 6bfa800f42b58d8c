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
