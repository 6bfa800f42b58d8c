//! The Cofferdam contract as Rust types.
//!
//! The messages of [`v1`] and [`storage`] are generated from `proto/cofferdam` and committed, so that a build needs no
//! `protoc`; `tests/bootstrap.rs` proves that they are fresh. [`grpc_timeout`] reads and writes gRPC's deadlines. Messages
//! alone need only prost:
//!
//! - feature `client`: the gRPC clients, and [`status`]: what a call's errors mean,
//! - feature `server`: the gRPC server traits,
//! - feature `bytes-codec`: [`BytesCodec`], which relays any method's messages without knowing their types,
//! - feature `json`: [`json`], messages in their JSON form, by their descriptors,
//! - feature `sealed`: [`sealed`], files that are whole or refused.

#[cfg(feature = "bytes-codec")]
mod bytes_codec;
pub mod grpc_timeout;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "sealed")]
pub mod sealed;
#[cfg(feature = "client")]
pub mod status;

#[cfg(feature = "bytes-codec")]
pub use bytes_codec::{BytesCodec, BytesDecoder, BytesEncoder};

/// A message as gRPC sends it, uncompressed: a flag, its length, its bytes. Where many get the same message, it is made
/// once and shared.
///
/// ```
/// let framed = cofferdam_proto::framed(&cofferdam_proto::v1::SyncBookmark::default());
/// assert_eq!(&framed[..], [0, 0, 0, 0, 0]);
/// ```
pub fn framed(message: &impl prost::Message) -> bytes::Bytes {
    use bytes::BufMut as _;

    let length = message.encoded_len();
    let mut framed = Vec::with_capacity(length.saturating_add(5));
    framed.put_u8(0);
    // No message of ours comes near to four gigabytes, which is as much as the format has room for.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.into()
}

/// Package `cofferdam.v1`: what services, operators and SDKs say to a manager.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    reason = "generated code"
)]
pub mod v1 {
    include!("gen/cofferdam.v1.rs");
}

/// Package `cofferdam.storage.v1`: what managers keep in their store.
pub mod storage {
    /// Version 1 of the store's schema.
    #[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    pub mod v1 {
        include!("gen/cofferdam.storage.v1.rs");
    }
}

/// The encoded `FileDescriptorSet` of the contract, with comments: for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/descriptors.binpb");
