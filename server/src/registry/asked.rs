//! Who asks for a write.
//!
//! It is what somebody says of himself: nothing proves it until there is authentication. It stands in a service's
//! history beside the reason, which is part of the request.

use super::validate;
use crate::error::Error;

/// The metadata that names the actor of a write.
pub(crate) const ACTOR_METADATA: &str = "cofferdam-actor";

const MAX_ACTOR_BYTES: usize = 128;
const MAX_REASON_BYTES: usize = 256;

/// Who makes a change: a person, a program, or where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    /// Somebody who says who he is.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is empty, longer than 128 bytes or holds control characters.
    pub fn new(name: &[u8]) -> Result<Self, Error> {
        let invalid = |description: &str| Error::invalid(ACTOR_METADATA, description);
        let name = str::from_utf8(name).map_err(|_| invalid("must be UTF-8"))?;
        if name.is_empty() {
            return Err(invalid("must not be empty: leave it out instead"));
        }
        if name.len() > MAX_ACTOR_BYTES {
            return Err(invalid(&format!("must be at most {MAX_ACTOR_BYTES} bytes long, not {}", name.len())));
        }
        if let Some(rule) = validate::unprinted(name) {
            return Err(invalid(rule));
        }
        Ok(Self(name.to_owned()))
    }

    /// Somebody of whom only the address is known.
    pub fn at(address: std::net::SocketAddr) -> Self {
        Self(address.to_string())
    }

    /// The name; empty where nothing is known.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A request and who makes it. A bare request is nobody's.
#[derive(Clone, Debug)]
pub struct Asked<T> {
    /// What is asked for.
    pub request: T,
    /// By whom.
    pub actor: Actor,
}

impl<T> From<T> for Asked<T> {
    fn from(request: T) -> Self {
        Self { request, actor: Actor::default() }
    }
}

/// Refuses a reason for a change that is longer than 256 bytes, or would not print.
///
/// # Errors
/// [`Error::Invalid`] at `reason`.
pub fn check_reason(reason: &str) -> Result<(), Error> {
    let mut faults = validate::Faults::default();
    faults.words("reason", reason, MAX_REASON_BYTES);
    faults.into_result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_a_short_text_that_prints() {
        assert_eq!(Actor::new("Zoë".as_bytes()).unwrap().name(), "Zoë");
        assert!(Actor::new(&[b'a'; 128]).is_ok());
        for (name, said) in [
            (&b""[..], "must not be empty"),
            (&[b'a'; 129], "at most 128 bytes long, not 129"),
            (b"a\nb", "control characters"),
            ("a\u{202e}b".as_bytes(), "direction"),
            (b"\xff", "UTF-8"),
        ] {
            let error = Actor::new(name).unwrap_err().to_string();
            assert!(error.starts_with("cofferdam-actor ") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_reason_is_a_short_text_that_prints() {
        assert_eq!(check_reason(""), Ok(()));
        assert_eq!(check_reason(&"a".repeat(256)), Ok(()));
        assert_eq!(
            check_reason(&"a".repeat(257)),
            Err(Error::invalid("reason", "must be at most 256 bytes long, not 257"))
        );
        for text in ["a\u{7}", "a\u{202e}b", "a\u{2028}b"] {
            assert!(check_reason(text).is_err(), "{text:?}");
        }
    }
}
