//! Names of services and namespaces.

use std::fmt;
use std::sync::Arc;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The namespace of services that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A checked name: 1 to 128 of `a-z`, `0-9`, `.`, `_` and `-`, starting and ending with a letter or digit.
///
/// The alphabet leaves out every character that means something in a store key, a path or a log line, so a name can
/// stand in all of them as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_BYTES`].
    #[error("must be at most {MAX_NAME_BYTES} bytes long, not {0}")]
    TooLong(usize),
    /// It holds a character that no name holds, or starts or ends with punctuation.
    #[error("must be of a-z, 0-9, '.', '_' and '-', and start and end with a letter or digit")]
    Form,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
            return Err(InvalidName::Empty);
        };
        if bytes.len() > MAX_NAME_BYTES {
            return Err(InvalidName::TooLong(bytes.len()));
        }
        let allowed = |byte: u8| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-');
        if alphanumeric(first) && alphanumeric(last) && bytes.iter().all(|&byte| allowed(byte)) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::Form)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A service's full name: its namespace and its name. Ordered by namespace, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Name,
    /// The name.
    pub name: Name,
}

impl fmt::Display for ServiceKey {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_call_services() {
        for name in ["a", "test-service", "user_management", "orders.db", "7z", &"a".repeat(MAX_NAME_BYTES)] {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_could_be_taken_for_something_else() {
        assert_eq!(Name::new(""), Err(InvalidName::Empty));
        assert_eq!(Name::new(&"a".repeat(MAX_NAME_BYTES + 1)), Err(InvalidName::TooLong(MAX_NAME_BYTES + 1)));
        for name in ["..", "a/b", "-a", "a-", "A", "a b", "a\0", "a\n", "раyments", "a*", "\u{202e}abc", "%2e"] {
            assert_eq!(Name::new(name), Err(InvalidName::Form), "{name:?}");
        }
    }
}
