//! What instances send.

use cofferdam_proto::v1::SyncRequest;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
};

use crate::grpc::error;

/// Bytes that a stream keeps for what is being read. There are thousands of streams, and nearly all that instances say
/// is an acknowledgement of some eighty bytes; what is longer gets more room while it is read.
const BUFFER: usize = 256;

/// Bytes of answers that may wait to be sent; not in use, as answers are framed already.
const YIELD: usize = 32 * 1024;

/// Decodes what instances send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncDecoder;

impl Decoder for SyncDecoder {
    type Item = SyncRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<SyncRequest>, Status> {
        SyncRequest::decode(buffer).map(Some).map_err(|error| error::malformed(&error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD)
    }
}
