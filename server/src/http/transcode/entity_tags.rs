//! `If-Match`, as RFC 9110 has it in sections 8.8.3 and 13.1.1.

use http::HeaderValue;

/// What a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags<'a> {
    /// `*`: whatever there is.
    Any,
    /// These, at least one.
    These(Vec<Tag<'a>>),
}

/// An entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) is_weak: bool,
    /// What stands between its quotes.
    pub(super) opaque: &'a [u8],
}

/// Reads all lines of a header as one list. `None`: it is none.
pub(super) fn read<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Option<Tags<'a>> {
    let lines: Vec<_> = lines.into_iter().map(|line| line.as_bytes().trim_ascii()).collect();
    if lines == [b"*".as_slice()] {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    for line in lines {
        read_list(line, &mut tags)?;
    }
    if tags.is_empty() { None } else { Some(Tags::These(tags)) }
}

/// Adds the tags of a list; a tag may have commas in it, and a list elements that are empty.
fn read_list<'a>(mut rest: &'a [u8], tags: &mut Vec<Tag<'a>>) -> Option<()> {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(b",") {
            rest = behind;
            continue;
        }
        if rest.is_empty() {
            return Some(());
        }
        let weak = rest.strip_prefix(b"W/");
        let quoted = weak.unwrap_or(rest).strip_prefix(b"\"")?;
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (opaque, behind) = quoted.split_at_checked(end)?;
        if !opaque.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..)) {
            return None;
        }
        tags.push(Tag { is_weak: weak.is_some(), opaque });
        rest = behind.strip_prefix(b"\"")?.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &'static str) -> Option<Vec<(bool, &'static str)>> {
        let value = Box::leak(Box::new(HeaderValue::from_static(text)));
        match read([&*value])? {
            Tags::Any => Some(Vec::new()),
            Tags::These(tags) => {
                Some(tags.iter().map(|tag| (tag.is_weak, std::str::from_utf8(tag.opaque).unwrap())).collect())
            }
        }
    }

    #[test]
    fn a_list_is_read_as_the_rfc_has_it() {
        assert_eq!(read_one(" * "), Some(Vec::new()));
        assert_eq!(read_one("\"7-9\""), Some(vec![(false, "7-9")]));
        assert_eq!(read_one(", W/\"a,b\" ,,\"\","), Some(vec![(true, "a,b"), (false, "")]));
        for no_list in
            ["", ",", "7-9", "\"7-9", "\"a\" \"b\"", "\"a\", *", "*, \"a\"", "w/\"a\"", "\"a b\"", "W/ \"a\""]
        {
            assert_eq!(read_one(no_list), None, "{no_list}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = ["\"a\"", "W/\"b\", \"c\""].map(HeaderValue::from_static);
        assert!(matches!(read(&lines), Some(Tags::These(tags)) if tags.len() == 3));
        assert_eq!(read(&["*", "*"].map(HeaderValue::from_static)), None);
        assert_eq!(read(&[HeaderValue::from_static("\"a\""), HeaderValue::from_static("b")]), None);
    }
}
