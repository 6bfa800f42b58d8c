//! Under a model checker: see `crate::tests::models`.

use super::*;
use crate::tests::models::{Part, check, race, shared};

fn of_time(seconds: u64) -> BreakerWindow {
    BreakerWindow::Time(TimeWindow { length: Duration::from_secs(seconds), buckets: 2 })
}

/// A call of the generation before the last counts by a shape that comes two changes later: its series has the number of
/// the present generation's, by the shape before. Whoever looked at the window meanwhile once took it for a failure of the
/// present one, which makes a trip that nothing justifies.
#[test]
fn a_late_call_by_a_later_shape_is_in_nobodys_totals() {
    for (shape, other) in [(of_time(2), of_time(4)), (BreakerWindow::Count(4), BreakerWindow::Count(8))] {
        check(move || {
            let window = shared(Window::new(shape));
            window.add(2, SUCCESS, NOW);
            let parts: [Part<u64>; 2] = [
                Box::new(move || {
                    window.reshape(other);
                    window.reshape(shape);
                    window.add(0, FAILURE, NOW);
                    0
                }),
                Box::new(move || {
                    let seen = window.add(2, FAILURE, NOW);
                    window.totals_after(seen, 2, NOW).failures
                }),
            ];
            let failures = race(parts)[1];
            assert!(failures <= 1, "{failures}");
        });
    }
}
