//! Durations as the case files write them: seconds, as in proto3 JSON, with no digit more than they need.

use serde::de::{Deserialize, Deserializer, Error};
use std::time::Duration;

/// A duration as it stands in a case file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is no duration")))
    }
}

/// A duration, which is written in one way only: `1.5s`, neither `1.50s` nor `1500ms`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let duration = Duration::new(seconds.parse().ok()?, nanos);
    (format(duration) == text).then_some(duration)
}

/// How a duration is written.
pub(crate) fn format(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
