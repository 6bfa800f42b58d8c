//! Values that a manager has put into words, in the words that this program takes and prints.

use super::POOL;
use super::shorthand::{duration, short};
use std::time::Duration;

/// A value of proto3 JSON as it can be typed: `ISOLATION_LEVEL_FULL` is `full`, `60s` is `1m`. What is neither stays.
pub(crate) fn shown(value: &str) -> String {
    if let Some(length) = value.strip_suffix('s').and_then(|seconds| seconds.parse().ok())
        && let Ok(length) = Duration::try_from_secs_f64(length)
    {
        return duration(length);
    }
    let is_name =
        value.contains('_') && value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let named = |values: prost_reflect::EnumDescriptor| values.get_value_by_name(value).map(|_| short(&values, value));
    if is_name { POOL.all_enums().find_map(named).unwrap_or_else(|| value.to_owned()) } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_can_be_typed() {
        let table = [
            ("ISOLATION_LEVEL_FULL", "full"),
            ("BREAKER_MODE_FORCED_OPEN", "forced-open"),
            ("60s", "1m"),
            ("0.250s", "250ms"),
            ("0s", "0s"),
            ("-1s", "-1s"),
            ("3", "3"),
            ("NOT_A_NAME", "NOT_A_NAME"),
            ("[14, 4]", "[14, 4]"),
        ];
        for (value, expected) in table {
            assert_eq!(shown(value), expected);
        }
    }
}
