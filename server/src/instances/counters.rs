//! Sums of call counters.

use cofferdam_proto::v1::CallCounters;

/// Names every counter once; a counter added to the contract fails the build here until it is summed.
macro_rules! add_each {
    ($sum:ident, $delta:ident: $($counter:ident)*) => {{
        let CallCounters { $($counter),* } = $delta;
        $($sum.$counter = $sum.$counter.saturating_add(*$counter);)*
    }};
}

/// Adds what has happened since.
pub(crate) fn add(sum: &mut CallCounters, delta: &CallCounters) {
    add_each!(sum, delta:
        calls served_live served_cached served_static served_alternative served_degraded failed cancelled attempts
        attempt_successes attempt_failures attempt_neutrals timeouts retries retries_refused rejected_open
        rejected_bulkhead rejected_rate_limit rejected_deadline rejected_disabled breaker_opened stale_results);
}
