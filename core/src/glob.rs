//! Globs of method names, where `*` stands for any run of characters, none included, and everything else for itself.
//!
//! What stands before the first `*` must start the text, and what stands after the last must end it. Each piece between
//! two is taken where it first occurs after the piece before it: taking it later leaves less for the next pieces and
//! gains nothing. So there is no way back, and a glob that comes from a policy cannot be made slow, as those are that
//! try every length of every `*`.

/// Whether a glob stands for a text.
///
/// ```
/// use cofferdam_core::glob::matches;
///
/// assert!(matches("shop.v1.Orders/Get*", "shop.v1.Orders/GetOrder"));
/// assert!(matches("*/List*", "shop.v1.Orders/ListOrders"));
/// assert!(!matches("shop.v1.Orders/Get*", "shop.v1.Orders/ListOrders"));
/// ```
pub fn matches(glob: &str, text: &str) -> bool {
    let Some((prefix, glob)) = glob.split_once('*') else {
        return glob == text;
    };
    let (middle, suffix) = glob.rsplit_once('*').unwrap_or(("", glob));
    let Some(text) = text.strip_prefix(prefix) else {
        return false;
    };
    let Some(mut text) = text.strip_suffix(suffix) else {
        return false;
    };
    for piece in middle.split('*') {
        let Some((_, rest)) = text.split_once(piece) else {
            return false;
        };
        text = rest;
    }
    true
}

/// Whether a glob stands for a method. A slash at the front of either says nothing: gRPC's paths have one, and people
/// leave it out.
pub fn matches_method(glob: &str, method: &str) -> bool {
    matches(method_name(glob), method_name(method))
}

/// A method, or a glob of methods, without the slash at its front. Two slashes are not gRPC's, and stay.
pub(crate) fn method_name(text: &str) -> &str {
    text.strip_prefix('/').filter(|name| !name.starts_with('/')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "pkg.S/M", true),
            ("**", "", true),
            ("pkg.S/M", "pkg.S/M", true),
            ("pkg.S/M", "pkg.S/Me", false),
            ("pkg.S/M*", "pkg.S/M", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*b*b*", "b", false),
            ("*ab*ab*", "abab", true),
            ("*aab", "aaaab", true),
            ("a**b", "ab", true),
            ("?[x]", "?[x]", true),
            ("?", "a", false),
            ("*é*", "café au lait", true),
            ("a*", "Abc", false),
        ];
        for (glob, text, expected) in cases {
            assert_eq!(matches(glob, text), expected, "{glob:?} and {text:?}");
        }
    }

    #[test]
    fn a_slash_at_the_front_says_nothing() {
        for glob in ["/pkg.S/Get*", "pkg.S/Get*", "*/Get*", "/*"] {
            assert!(matches_method(glob, "/pkg.S/GetUser") && matches_method(glob, "pkg.S/GetUser"), "{glob:?}");
        }
        assert!(!matches_method("//pkg.S/Get*", "pkg.S/GetUser"));
    }

    /// What a glob means, said as directly and as slowly as can be.
    fn means(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skipped| means(rest, &text[skipped..])),
            Some((first, rest)) => text.first() == Some(first) && means(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_meaning(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&glob, &text), means(glob.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn takes_any_text(glob in any::<String>(), text in any::<String>()) {
            if !glob.contains('*') {
                prop_assert_eq!(matches(&glob, &text), glob == text);
            }
            let around = format!("*{text}*");
            prop_assert!(matches(&around, &text));
        }
    }
}
