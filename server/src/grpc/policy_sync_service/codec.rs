//! Messages in, bytes out.

use bytes::Bytes;
use cofferdam_proto::{BytesEncoder, v1::SyncRequest};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};

use crate::grpc::error;

/// Decodes what instances send, and passes on answers that are encoded already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncCodec;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncDecoder;

impl Codec for SyncCodec {
    type Encode = Bytes;
    type Decode = SyncRequest;
    type Encoder = BytesEncoder;
    type Decoder = SyncDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        SyncDecoder
    }
}

impl Decoder for SyncDecoder {
    type Item = SyncRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<SyncRequest>, Status> {
        SyncRequest::decode(buffer).map(Some).map_err(|error| error::malformed(&error.to_string()))
    }
}
