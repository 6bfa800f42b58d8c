use std::time::Duration;

/// The longest `google.protobuf.Duration`, in seconds: about 10,000 years.
pub const MAX_WIRE_SECONDS: u64 = 315_576_000_000;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// The message is no span of time that Cofferdam takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Its seconds or nanos are negative.
    #[error("must not be negative")]
    Negative,
    /// Its nanos make up a second or more.
    #[error("must have nanos in [0, 999999999], not {0}")]
    Nanos(i32),
    /// It is longer than the format allows.
    #[error("must be at most {MAX_WIRE_SECONDS} s")]
    TooLong,
}

/// The span of time that a message stands for.
///
/// # Errors
///
/// [`InvalidDuration`] where it is negative or breaks the format's own rules; it is never normalised, so that a broken
/// client is told so.
pub fn duration_from_wire(wire: prost_types::Duration) -> Result<Duration, InvalidDuration> {
    let prost_types::Duration { seconds, nanos } = wire;
    let (Ok(seconds), Ok(subsecond)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        return Err(InvalidDuration::Negative);
    };
    if subsecond >= NANOS_PER_SECOND {
        return Err(InvalidDuration::Nanos(nanos));
    }
    let duration = Duration::new(seconds, subsecond);
    if duration > Duration::from_secs(MAX_WIRE_SECONDS) { Err(InvalidDuration::TooLong) } else { Ok(duration) }
}

/// The message for a span of time; the longest one where that is too long for the format.
pub fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    let duration = duration.min(Duration::from_secs(MAX_WIRE_SECONDS));
    // Neither cast can lose anything: seconds are at most MAX_WIRE_SECONDS, nanos below a billion.
    prost_types::Duration { seconds: duration.as_secs().cast_signed(), nanos: duration.subsec_nanos().cast_signed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    #[test]
    fn what_the_format_allows_round_trips() {
        let longest = i64::try_from(MAX_WIRE_SECONDS).unwrap();
        for message in [wire(0, 0), wire(0, 1), wire(1, 999_999_999), wire(86_400, 0), wire(longest, 0)] {
            assert_eq!(duration_to_wire(duration_from_wire(message).unwrap()), message);
        }
        assert_eq!(duration_to_wire(Duration::MAX), wire(longest, 0));
    }

    #[test]
    fn what_it_forbids_is_refused() {
        for message in [wire(-1, 0), wire(0, -1), wire(i64::MIN, 0), wire(i64::MIN, i32::MIN), wire(1, -1), wire(-1, 1)]
        {
            assert_eq!(duration_from_wire(message), Err(InvalidDuration::Negative), "{message:?}");
        }
        assert_eq!(duration_from_wire(wire(0, 1_000_000_000)), Err(InvalidDuration::Nanos(1_000_000_000)));
        assert_eq!(duration_from_wire(wire(i64::MAX, i32::MAX)), Err(InvalidDuration::Nanos(i32::MAX)));
        assert_eq!(duration_from_wire(wire(i64::MAX, 0)), Err(InvalidDuration::TooLong));
        assert_eq!(duration_from_wire(wire(315_576_000_000, 1)), Err(InvalidDuration::TooLong));
    }
}
