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

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_text_ends_between_two_characters() {
        assert_eq!(shortened("payments", 8), "payments");
        assert_eq!(shortened("payments! payments!", 17), "payme... and more");
        assert_eq!(shortened("paymü payments pay", 17), "paym... and more", "the next one has two bytes");
        assert_eq!(shortened("no room", 3), "... and more");
    }
}
