//! The header in which a gRPC caller says how long it waits.

use std::time::Duration;

/// The header's name.
pub const HEADER: &str = "grpc-timeout";

/// The most that its eight digits hold.
const MAX_DIGITS: u128 = 99_999_999;

/// The time that a value says: one to eight digits and a unit. `None`: it is not formed like that.
///
/// ```
/// use cofferdam_proto::grpc_timeout::parse;
/// use std::time::Duration;
///
/// assert_eq!(parse(b"250m"), Some(Duration::from_millis(250)));
/// assert_eq!(parse(b"2.5S"), None);
/// ```
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A value for the time that remains. Rounded up, for tonic's channels keep time by it as well, and the timer that ends
/// the call is to be the engine's; so it is never zero, which some servers take for no time at all.
pub fn format(remaining: Duration) -> String {
    match remaining.as_millis() + 1 {
        millis @ 0..=MAX_DIGITS => format!("{millis}m"),
        _ => format!("{}S", u128::from(remaining.as_secs()).min(MAX_DIGITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_nothing_else() {
        let read = ["1H", "2M", "3S", "4m", "5u", "6n", "0S", "99999999H"].map(|text| parse(text.as_bytes()));
        let seconds = [3_600, 120, 3].map(|seconds| Some(Duration::from_secs(seconds)));
        assert_eq!(read[..3], seconds);
        let small = [Duration::from_millis(4), Duration::from_micros(5), Duration::from_nanos(6), Duration::ZERO];
        assert_eq!(read[3..7], small.map(Some));
        assert_eq!(read[7], Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "S", "7", "-1S", "+1S", "123456789S", "1 S", "1s", "1.5S", "\u{661}S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_no_less() {
        for (remaining, text) in [
            (Duration::from_secs(1), "1001m"),
            (Duration::from_micros(3), "1m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(format(remaining), text);
            assert!(parse(text.as_bytes()).is_some_and(|read| read >= remaining || remaining == Duration::MAX));
        }
    }
}
