//! Commands for the reader: what the demo just did, as a line to type, and what to try next.

use cofferdam_core::level::Level;

/// The service of the demo.
pub(crate) const SERVICE: &str = "payments";

/// Its static fallback.
pub(crate) const STATIC_ANSWER: &str = r#"{"status":"pending"}"#;

/// SetIsolationLevel, as a line to type.
pub(crate) fn set_level(manager: &str, level: Level) -> String {
    let level = level.name().to_uppercase();
    format!(
        "grpcurl -plaintext -d '{{\"service\":\"{SERVICE}\",\"level\":\"ISOLATION_LEVEL_{level}\"}}' {manager} \
         cofferdam.v1.IsolationService/SetIsolationLevel"
    )
}

/// The same line in three, which a shell reads as one: it is wider than a narrow terminal.
pub(crate) fn folded(line: &str) -> String {
    line.replacen(" -d '", " \\\n    -d '", 1).replacen("' ", "' \\\n    ", 1)
}

/// What to try next. `by_cargo`: the demo was started by cargo, so no `cofferdam` may be on the path.
pub(crate) fn try_next(by_cargo: bool) -> String {
    let cofferdam = if by_cargo { "cargo run --" } else { "cofferdam" };
    format!(
        "try next\n  {cofferdam} serve\n\
         and in another terminal\n  \
         {cofferdam} register {SERVICE} --endpoint 127.0.0.1:50051 --level enhanced\n  \
         {cofferdam} set-level {SERVICE} full\n  \
         {cofferdam} describe service {SERVICE}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_as_it_is() {
        assert_eq!(
            set_level("127.0.0.1:7420", Level::Enhanced),
            "grpcurl -plaintext -d '{\"service\":\"payments\",\"level\":\"ISOLATION_LEVEL_ENHANCED\"}' 127.0.0.1:7420 \
             cofferdam.v1.IsolationService/SetIsolationLevel"
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
        assert!(
            try_next(false).starts_with("try next\n  cofferdam serve\nand in another terminal\n  cofferdam register ")
        );
        assert_eq!(try_next(false).replace("  cofferdam ", "  cargo run -- "), try_next(true));
    }
}
