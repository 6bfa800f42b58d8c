//! What a value must be, for whoever said another one.

use prost_reflect::Kind;

const DURATION: &str = "google.protobuf.Duration";
const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// As many digits as a nanosecond has behind the point.
const MAX_DIGITS: usize = 9;

/// What a value of a kind must be. `None`: there are no words for that.
pub(super) fn expected(kind: &Kind) -> Option<String> {
    let whole = |least: i128, most: i128| Some(format!("must be a whole number, {least} to {most}"));
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => whole(0, u32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(i64::MIN.into(), i64::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => whole(0, u64::MAX.into()),
        Kind::Float | Kind::Double => Some("must be a number".to_owned()),
        Kind::Bool => Some("must be true or false".to_owned()),
        Kind::String => Some("must be a text".to_owned()),
        Kind::Bytes => Some("must be a text in base64".to_owned()),
        Kind::Message(kind) => match kind.full_name() {
            DURATION => Some("must be a duration in seconds, as in \"1.5s\" or \"0.001s\"".to_owned()),
            TIMESTAMP => Some("must be a time of RFC 3339, as in \"2026-01-31T23:59:59.5Z\"".to_owned()),
            _ => None,
        },
        Kind::Enum(_) => None,
    }
}

/// What is wrong with a duration or a time that has more digits than are kept. `None`: it has not, or is neither.
pub(super) fn too_fine(kind: &Kind, text: &str) -> Option<&'static str> {
    let is_time = matches!(kind, Kind::Message(kind) if matches!(kind.full_name(), DURATION | TIMESTAMP));
    let (_, behind) = text.split_once('.').filter(|_| is_time)?;
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    (digits > MAX_DIGITS)
        .then_some("must have at most nine digits behind the point: there is nothing below a nanosecond")
}
