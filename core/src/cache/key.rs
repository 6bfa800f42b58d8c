//! What an answer is an answer to.

use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Up to this length, method and key together are kept as they are.
const MAX_EXACT_BYTES: usize = 256;

/// A method and a key that the caller gave, usually what identifies the request; cheap to clone.
///
/// Two of them are equal only if methods and keys both are: the method's length is part of it, so that a byte cannot
/// move from one to the other. Beyond 256 bytes, both are replaced by their SHA-256. A key may be a whole request of
/// any size, and to refuse long ones would leave just those calls without a fallback; a hash for which somebody could
/// find two requests, on the other hand, would answer one caller with what was meant for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Repr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Exact { method_bytes: u16, both: Arc<[u8]> },
    Digest([u8; 32]),
}

impl CacheKey {
    /// The key of an answer.
    pub fn new(method: &str, key: &[u8]) -> Self {
        let method = method.as_bytes();
        Self(match u16::try_from(method.len()) {
            Ok(method_bytes) if method.len() + key.len() <= MAX_EXACT_BYTES => {
                Repr::Exact { method_bytes, both: [method, key].concat().into() }
            }
            _ => {
                let method_bytes = (method.len() as u64).to_be_bytes();
                let digest = Sha256::new().chain_update(method_bytes).chain_update(method).chain_update(key);
                Repr::Digest(digest.finalize().into())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }

    proptest! {
        #[test]
        fn equal_only_if_method_and_key_are(
            method in ".{0,200}",
            other_method in ".{0,200}",
            key in prop::collection::vec(any::<u8>(), 0..200),
            other_key in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let this = CacheKey::new(&method, &key);
            prop_assert_eq!(&this, &CacheKey::new(&method, &key));
            for (other_method, other_key) in [(&method, &other_key), (&other_method, &key), (&other_method, &other_key)]
            {
                let is_same = *other_method == method && *other_key == key;
                prop_assert_eq!(this == CacheKey::new(other_method, other_key), is_same);
            }
        }
    }
}
