//! How answers are kept as bytes, and made from bytes.
//!
//! A policy's cached fallback keeps good answers, and its static fallback holds one that an operator wrote. Both are
//! bytes; only the caller knows what they mean. A call that is given a codec can be answered by either; without one
//! these steps of the chain are passed over.

use bytes::Bytes;
use cofferdam_core::call::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Turns answers into bytes and back.
///
/// ```
/// use bytes::Bytes;
/// use cofferdam::{Codec, Payload};
///
/// /// UTF-8 text, as it is.
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn encode(&self, answer: &String) -> Option<Bytes> {
///         Some(answer.clone().into())
///     }
///
///     fn decode(&self, payload: Payload<'_>) -> Option<String> {
///         String::from_utf8(payload.bytes.to_vec()).ok()
///     }
/// }
/// ```
pub trait Codec<T> {
    /// An answer as bytes, to be kept. `None`: it cannot be kept, or should not, as a page that says "not found"; what
    /// was kept before it stays.
    fn encode(&self, answer: &T) -> Option<Bytes>;

    /// Kept or static bytes as an answer. `None`: they are not an answer, and the next step of the chain is tried. A static
    /// payload comes with the content type that the operator gave it, a kept one without.
    fn decode(&self, payload: Payload<'_>) -> Option<T>;
}

/// Answers as JSON: any type that serde knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, answer: &T) -> Option<Bytes> {
        serde_json::to_vec(answer).ok().map(Bytes::from)
    }

    fn decode(&self, payload: Payload<'_>) -> Option<T> {
        serde_json::from_slice(payload.bytes).ok()
    }
}

/// Protobuf messages, as tonic's clients return them inside a `Response`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

impl<M: prost::Message + Default> Codec<M> for Protobuf {
    fn encode(&self, answer: &M) -> Option<Bytes> {
        Some(answer.encode_to_vec().into())
    }

    fn decode(&self, payload: Payload<'_>) -> Option<M> {
        M::decode(payload.bytes.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(bytes: &Bytes) -> Payload<'_> {
        Payload { bytes, content_type: "" }
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let rows = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
        let kept = Json.encode(&rows).unwrap();
        assert_eq!(Json.decode(payload(&kept)), Some(rows));

        let duration = prost_types::Duration { seconds: 3, nanos: 4 };
        let kept = Protobuf.encode(&duration).unwrap();
        assert_eq!(Protobuf.decode(payload(&kept)), Some(duration));
    }

    #[test]
    fn bytes_that_mean_nothing_are_no_answer() {
        let noise = Bytes::from_static(b"\xff\xff");
        assert_eq!(Codec::<Vec<u32>>::decode(&Json, payload(&noise)), None);
        assert_eq!(Codec::<prost_types::Duration>::decode(&Protobuf, payload(&noise)), None);
    }
}
