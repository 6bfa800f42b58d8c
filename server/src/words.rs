//! Texts of any length, told within bounds.

/// What stands in the place of what was left out.
const MORE: &str = "... and more";

/// A text, or its beginning and `... and more` where it has more than `max` bytes.
pub(crate) fn shortened(text: impl Into<String>, max: usize) -> String {
    let mut text = text.into();
    if text.len() > max {
        let room = max.saturating_sub(MORE.len());
        let fits = (0..=room).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(fits.unwrap_or_default());
        text.push_str(MORE);
    }
    text
}

/// What others have written, in one line that a terminal can show: what would move its cursor, end the line or turn its
/// direction becomes a space.
pub(crate) fn printed(text: &str) -> String {
    text.chars().map(|c| if is_printed(c) { c } else { ' ' }).collect()
}

/// Whether a terminal shows it and does not obey it.
pub(crate) fn is_printed(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns && !matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::{printed, shortened};

    #[test]
    fn what_others_write_stays_in_its_line() {
        assert_eq!(printed("\u{1b}[2Jno\nok \u{9b}31m\u{202e}\u{2028}ü"), " [2Jno ok  31m  ü");
    }

    #[test]
    fn a_text_ends_between_two_characters() {
        assert_eq!(shortened("payments", 8), "payments");
        assert_eq!(shortened("payments! payments!", 17), "payme... and more");
        assert_eq!(shortened("paymü payments pay", 17), "paym... and more", "the next one has two bytes");
        assert_eq!(shortened("no room", 3), "... and more");
    }
}
