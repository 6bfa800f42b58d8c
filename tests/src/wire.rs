//! Messages of the contract, without the noise.

pub use cofferdam_proto::v1::fallback_step::Strategy;

use cofferdam_proto::v1::{
    AlternativeFallback, CachedFallback, CircuitBreakerPolicy, DegradedFallback, Endpoint, FallbackConfig,
    FallbackStep, IsolatedService, IsolationLevel, IsolationPolicy, RegisterServiceRequest, Revision, Service,
    StaticFallback,
};
use std::time::Duration;

/// A duration on the wire.
///
/// # Panics
///
/// If it is longer than the wire can say.
pub fn duration(duration: Duration) -> prost_types::Duration {
    duration.try_into().expect("tests use durations of this world")
}

/// So many seconds on the wire.
pub fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// So many milliseconds on the wire.
pub fn millis(millis: u64) -> prost_types::Duration {
    duration(Duration::from_millis(millis))
}

/// The registration of a service of this name and level, with the defaults for all else.
pub fn registration(name: &str, level: IsolationLevel) -> RegisterServiceRequest {
    RegisterServiceRequest { service: Some(service(name)), level: level.into(), ..RegisterServiceRequest::default() }
}

/// The registration of a service that listens at this address.
pub fn registration_at(name: &str, level: IsolationLevel, address: &str) -> RegisterServiceRequest {
    let endpoints = vec![Endpoint { address: address.into() }];
    RegisterServiceRequest { service: Some(Service { endpoints, ..service(name) }), ..registration(name, level) }
}

/// A service of this name.
pub fn service(name: &str) -> Service {
    Service { name: name.into(), version: "1.0.0".into(), ..Service::default() }
}

/// A fallback of these steps.
pub fn fallback(chain: impl IntoIterator<Item = Strategy>) -> FallbackConfig {
    let step = |strategy| FallbackStep { strategy: Some(strategy) };
    FallbackConfig { enabled: Some(true), chain: chain.into_iter().map(step).collect(), ..FallbackConfig::default() }
}

/// A static step that answers with JSON.
pub fn static_json(json: &str) -> Strategy {
    Strategy::Static(StaticFallback {
        payload: json.as_bytes().to_vec().into(),
        content_type: "application/json".into(),
    })
}

/// A cached step with the default times and sizes.
pub fn cached() -> Strategy {
    Strategy::Cached(CachedFallback::default())
}

/// A step that asks another service. An empty method is the call's own.
pub fn alternative(service: &str, method: &str) -> Strategy {
    Strategy::Alternative(AlternativeFallback { service: service.into(), method: method.into(), timeout: None })
}

/// A step that names what still works.
pub fn degraded(feature: &str) -> Strategy {
    Strategy::Degraded(DegradedFallback { features: vec![feature.into()], reason: String::new() })
}

/// A policy of nothing but a breaker that opens at so many failures in a row, for so long, without jitter.
pub fn breaker(consecutive_failures: u32, open: Duration) -> IsolationPolicy {
    let circuit_breaker = CircuitBreakerPolicy {
        consecutive_failures: Some(consecutive_failures),
        failure_rate: Some(0.0),
        open_duration: Some(duration(open)),
        open_jitter_ratio: Some(0.0),
        ..CircuitBreakerPolicy::default()
    };
    IsolationPolicy { circuit_breaker: Some(circuit_breaker), ..IsolationPolicy::default() }
}

/// The revision of a service.
///
/// # Panics
///
/// If it has none.
pub fn revision(service: Option<&IsolatedService>) -> Revision {
    service.and_then(|service| service.revision).expect("a registered service has a revision")
}

/// A revision as something that is ordered.
pub fn position(revision: Revision) -> (u64, u64) {
    (revision.epoch, revision.revision)
}

/// Bytes as protobuf's JSON form has them.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
