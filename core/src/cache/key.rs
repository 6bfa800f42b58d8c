//! What an answer is an answer to.

use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Up to this length, method and key together are kept as they are.
const MAX_EXACT_BYTES: usize = 256;

/// A method and what identifies a request to it; cheap to clone.
///
/// Two of them are equal only if methods and keys both are: the method's length is part of it, so that a byte cannot
/// move from one to the other. Beyond 256 bytes, both are replaced by their SHA-256. A key may be a whole request of
/// any size, and to refuse long ones would leave just those calls without a fallback; a hash for which somebody could
/// find two requests, on the other hand, would answer one caller with what was meant for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Repr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Exact { form: Form, method_bytes: u16, both: Arc<[u8]> },
    Digest([u8; 32]),
}

/// What the key's bytes are. They cannot be mistaken for each other: a policy that names other fields, or none, must
/// not find what was kept before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// What the caller gave.
    Given,
    /// Names and values of fields, each after its length.
    Fields,
}

impl CacheKey {
    /// The key that a caller gave, usually what identifies the request.
    pub fn new(method: &str, key: &[u8]) -> Self {
        Self::of(Form::Given, method, key)
    }

    /// Fields of the request, by name and value. Equal where these are, in the same order.
    pub fn of_fields<'a>(method: &str, fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut key = Vec::new();
        for (name, value) in fields {
            for part in [name.as_bytes(), value] {
                key.extend_from_slice(&(part.len() as u64).to_be_bytes());
                key.extend_from_slice(part);
            }
        }
        Self::of(Form::Fields, method, &key)
    }

    fn of(form: Form, method: &str, key: &[u8]) -> Self {
        let method = method.as_bytes();
        Self(match u16::try_from(method.len()) {
            Ok(method_bytes) if method.len() + key.len() <= MAX_EXACT_BYTES => {
                Repr::Exact { form, method_bytes, both: [method, key].concat().into() }
            }
            _ => {
                let method_bytes = (method.len() as u64).to_be_bytes();
                let digest = Sha256::new().chain_update([form as u8]).chain_update(method_bytes);
                Repr::Digest(digest.chain_update(method).chain_update(key).finalize().into())
            }
        })
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Repr::Exact { both, .. } => both.len(),
            Repr::Digest(digest) => digest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn no_byte_moves_between_method_and_key() {
        assert_ne!(CacheKey::new("ab", b"c"), CacheKey::new("a", b"bc"));
        let long = [b'x'; 300];
        assert_ne!(CacheKey::new("ax", &long), CacheKey::new("a", &[&b"x"[..], &long[..]].concat()));
        assert_eq!(CacheKey::new("a", &long), CacheKey::new("a", &long));
    }

    #[test]
    fn an_exact_key_is_no_digest() {
        let long = CacheKey::new("m", &[7; 300]);
        let Repr::Digest(digest) = long.0.clone() else { panic!("a long key is hashed") };
        assert_ne!(CacheKey::new("", &digest), long);
        let CacheKey(Repr::Exact { both, .. }) = CacheKey::new("m", &[7; 255]) else { panic!("256 bytes are kept") };
        assert_eq!(both.len(), 256);
        assert_eq!((long.len(), CacheKey::new("m", &[7; 255]).len()), (32, 256));
    }

    /// A caller could otherwise give a key that spells what the policy makes of somebody else's fields.
    #[test]
    fn no_given_key_is_that_of_fields() {
        for value in [&b"7"[..], &[7; 300]] {
            let of_fields = CacheKey::of_fields("m", [("user", value)]);
            let lengths = [4_u64.to_be_bytes(), (value.len() as u64).to_be_bytes()];
            let spelt = [&lengths[0], &b"user"[..], &lengths[1], value].concat();
            assert_ne!(CacheKey::new("m", &spelt), of_fields);
            assert_eq!(CacheKey::of(Form::Fields, "m", &spelt), of_fields, "or this test spells it wrong");
        }
    }

    proptest! {
        #[test]
        fn equal_only_if_method_and_key_are(
            method in ".{0,200}",
            other_method in ".{0,200}",
            key in vec(any::<u8>(), 0..200),
            other_key in vec(any::<u8>(), 0..200),
        ) {
            let this = CacheKey::new(&method, &key);
            prop_assert_eq!(&this, &CacheKey::new(&method, &key));
            for (other_method, other_key) in [(&method, &other_key), (&other_method, &key), (&other_method, &other_key)]
            {
                let is_same = *other_method == method && *other_key == key;
                prop_assert_eq!(this == CacheKey::new(other_method, other_key), is_same);
            }
        }

        #[test]
        fn equal_only_if_all_fields_are(
            fields in vec(("[ab]{0,2}", vec(97..99_u8, 0..3)), 0..3),
            others in vec(("[ab]{0,2}", vec(97..99_u8, 0..3)), 0..3),
        ) {
            let key = |fields: &[(String, Vec<u8>)]| {
                CacheKey::of_fields("m", fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())))
            };
            prop_assert_eq!(key(&fields) == key(&others), fields == others);
        }
    }
}
