//! What events are signed with.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret in base64 begins with.
const PREFIX: &str = "whsec_";

/// The fewest bytes that are one.
const MIN_BYTES: usize = 16;

/// The key of a signature. It is never shown.
pub(crate) struct Secret(Vec<u8>);

/// It is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {MIN_BYTES} bytes or more, or whsec_ and as many in base64")]
pub(crate) struct NoSecret;

impl Secret {
    /// Reads what a file holds; a line end after it does not count.
    ///
    /// # Errors
    /// [`NoSecret`].
    pub(crate) fn read(text: &[u8]) -> Result<Self, NoSecret> {
        let text = text.trim_ascii_end();
        let key = match text.strip_prefix(PREFIX.as_bytes()) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| NoSecret)?,
            None => text.to_vec(),
        };
        if key.len() < MIN_BYTES { Err(NoSecret) } else { Ok(Self(key)) }
    }

    /// The signature of an event: `v1,` and the HMAC-SHA256 of id, timestamp and body with dots between them, in base64.
    /// Empty only for a key that no HMAC takes, of which there is none.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
