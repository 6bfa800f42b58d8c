//! Commands for the reader: what the demo just did, as a line to type, and what to try next.

use cofferdam_core::level::Level;
use std::fmt::Write as _;

/// The service of the demo.
pub(crate) const SERVICE: &str = "payments";

/// Its static fallback.
pub(crate) const STATIC_ANSWER: &str = r#"{"status":"pending"}"#;

/// The static fallback in base64, as JSON wants bytes.
const STATIC_ANSWER_BASE64: &str = "eyJzdGF0dXMiOiJwZW5kaW5nIn0=";

/// Where `serve` listens unless it is told otherwise.
const DEFAULT_MANAGER: &str = "localhost:7420";

/// A call to a manager, as a line to type.
fn grpcurl(manager: &str, method: &str, request: Option<&str>) -> String {
    let data = request.map_or_else(String::new, |request| format!("-d '{request}' "));
    format!("grpcurl -plaintext {data}{manager} cofferdam.v1.IsolationService/{method}")
}

/// SetIsolationLevel, as a line to type.
pub(crate) fn set_level(manager: &str, level: Level) -> String {
    let level = level.name().to_uppercase();
    let request = format!(r#"{{"service":"{SERVICE}","level":"ISOLATION_LEVEL_{level}"}}"#);
    grpcurl(manager, "SetIsolationLevel", Some(&request))
}

/// The same line in three, which a shell reads as one: it is wider than a narrow terminal.
pub(crate) fn folded(line: &str) -> String {
    line.replacen(" -d '", " \\\n    -d '", 1).replacen("' ", "' \\\n    ", 1)
}

/// RegisterService, as a line to type.
fn register(manager: &str) -> String {
    let chain = format!(r#"[{{"static":{{"payload":"{STATIC_ANSWER_BASE64}"}}}}]"#);
    let request = format!(r#"{{"service":{{"name":"{SERVICE}"}},"fallback":{{"chain":{chain}}}}}"#);
    grpcurl(manager, "RegisterService", Some(&request))
}

/// What to try next. `by_cargo`: the demo was started by cargo, so no `cofferdam` may be on the path.
pub(crate) fn try_next(by_cargo: bool) -> String {
    let serve = if by_cargo { "cargo run -- serve" } else { "cofferdam serve" };
    let info = format!(r#"{{"service":"{SERVICE}"}}"#);
    let lines = [
        serve.to_owned(),
        register(DEFAULT_MANAGER),
        set_level(DEFAULT_MANAGER, Level::Full),
        grpcurl(DEFAULT_MANAGER, "GetServiceIsolationInfo", Some(&info)),
        grpcurl(DEFAULT_MANAGER, "ListIsolatedServices", None),
        grpcurl(DEFAULT_MANAGER, "GetIsolationStats", None),
    ];
    lines.iter().fold("try next\n".to_owned(), |mut text, line| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base64_is_that_of_the_answer() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let decoded: Vec<u8> = STATIC_ANSWER_BASE64
            .trim_end_matches('=')
            .as_bytes()
            .chunks(4)
            .flat_map(|chunk| {
                let six = |byte: &u8| alphabet.iter().position(|letter| letter == byte).unwrap();
                let bits = chunk.iter().fold(0, |bits, byte| bits << 6 | six(byte)) << (6 * (4 - chunk.len()));
                bits.to_be_bytes()[5..].iter().take(chunk.len() - 1).copied().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(decoded, STATIC_ANSWER.as_bytes());
    }

    #[test]
    fn a_line_can_be_typed_as_it_is() {
        assert_eq!(
            set_level("127.0.0.1:7420", Level::Enhanced),
            "grpcurl -plaintext -d '{\"service\":\"payments\",\"level\":\"ISOLATION_LEVEL_ENHANCED\"}' 127.0.0.1:7420 \
             cofferdam.v1.IsolationService/SetIsolationLevel"
        );
        assert_eq!(
            grpcurl(DEFAULT_MANAGER, "GetIsolationStats", None),
            "grpcurl -plaintext localhost:7420 cofferdam.v1.IsolationService/GetIsolationStats"
        );
    }

    #[test]
    fn a_folded_line_is_narrow_and_still_the_same() {
        for level in Level::ALL {
            let line = set_level("127.0.0.1:65535", level);
            let folded = folded(&line);
            assert_eq!(folded.lines().count(), 3);
            assert!(folded.lines().all(|line| line.len() <= 76), "{folded}");
            assert_eq!(folded.replace("\\\n    ", ""), line);
        }
    }

    #[test]
    fn what_is_next_begins_with_a_manager() {
        assert!(try_next(true).starts_with("try next\n  cargo run -- serve\n  grpcurl "));
        assert!(try_next(false).starts_with("try next\n  cofferdam serve\n  grpcurl "));
    }
}
