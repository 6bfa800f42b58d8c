use super::{Charge, Plain};
use crate::demo::measure::Served;
use bytes::Bytes;
use cofferdam::{Codec, Payload, Service, Source};

/// The same calls through the SDK: one closure around the plain call, and all else is policy.
#[derive(Debug)]
pub(crate) struct Protected {
    /// The handle to the service.
    pub service: Service,
    /// The plain call.
    pub plain: Plain,
}

/// The answers are bytes already.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Charge for Protected {
    async fn charge(&self, order: Bytes) -> Served {
        // An order has a number, by which the upstream would know it again: it may be charged twice and is paid once.
        let call = self.service.execute("Charge", || self.plain.attempt(order.clone()));
        let answer = call.idempotent().codec(Raw).cache_key(&order).answer().await;
        answer.map_or(Served::Nobody, |answer| answer.source.into())
    }
}

impl Codec<Bytes> for Raw {
    fn encode(&self, answer: &Bytes) -> Option<Bytes> {
        Some(answer.clone())
    }

    fn decode(&self, payload: Payload<'_>) -> Option<Bytes> {
        Some(payload.bytes.clone())
    }
}

impl From<Source> for Served {
    fn from(source: Source) -> Self {
        match source {
            Source::Live => Self::Live,
            Source::Cached { .. } => Self::Cached,
            Source::Static => Self::Static,
            Source::Alternative => Self::Alternative,
            Source::Degraded(_) | Source::Local => Self::Degraded,
        }
    }
}
