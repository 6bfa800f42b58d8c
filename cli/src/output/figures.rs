//! Numbers as people read them.

use std::time::Duration;

/// A duration of the contract. A negative one, which no manager sends, is none at all.
pub(crate) fn std_duration(wire: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(wire?).ok()
}

/// How long something took, with two digits that count: `90ms`, `2.1s`. Empty: it is not known.
pub(crate) fn length(length: Option<Duration>) -> String {
    let Some(length) = length else { return String::new() };
    let micros = length.as_micros();
    let scaled = |value: f64, unit: &str| {
        if value < 9.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
    };
    match micros {
        0..1_000 => scaled(length.as_secs_f64() * 1e6, "us"),
        1_000..999_500 => scaled(length.as_secs_f64() * 1e3, "ms"),
        _ => scaled(length.as_secs_f64(), "s"),
    }
}

/// How long ago something was, in its two largest units: `42s`, `3m10s`, `5d2h`. Empty: it is not known.
pub(crate) fn age(age: Option<Duration>) -> String {
    let Some(age) = age else { return String::new() };
    let seconds = age.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A share in percent: `61.2`. Empty: there is none.
pub(crate) fn basis_points(share: Option<u32>) -> String {
    share.map_or_else(String::new, |share| format!("{:.1}", f64::from(share) / 100.0))
}

/// So many a second.
pub(crate) fn rate(rate: f64) -> String {
    if rate < 9.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// `1 breaker is`, `3 breakers are`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
