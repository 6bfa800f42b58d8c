use super::{InvalidPolicyHash, PolicyHash, policy_hash};
use crate::level::Level;
use crate::policy::{Policy, PolicySpec, Preset, RateLimitPolicy};
use crate::wire::testing::policy;
use crate::wire::{effective_policy, to_wire};
use cofferdam_proto::FILE_DESCRIPTOR_SET;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use std::collections::HashSet;

/// Instances of older and newer releases compare fingerprints with this manager: it must not change by accident.
#[test]
fn the_default_policy_has_the_fingerprint_it_always_had() {
    assert_eq!(policy_hash(&Policy::default()).to_string(), "3834041c812ae4b1db1b8c34b7613b26");
}

proptest! {
    #[test]
    fn equal_policies_have_equal_fingerprints(policy in policy()) {
        let again = effective_policy(&to_wire(&policy)).unwrap();
        prop_assert_eq!(policy_hash(&again), policy_hash(&policy));
    }

    /// The encoding is the one of the format's own rules, not one of this library's: another language gets the same.
    #[test]
    fn the_encoding_is_canonical(policy in policy()) {
        let message = to_wire(&policy);
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let mut dynamic = DynamicMessage::new(pool.get_message_by_name("cofferdam.v1.IsolationPolicy").unwrap());
        dynamic.transcode_from(&message).unwrap();
        prop_assert_eq!(dynamic.encode_to_vec(), message.encode_to_vec());
    }

    #[test]
    fn different_policies_have_different_fingerprints(one in policy(), other in policy()) {
        prop_assert_eq!(policy_hash(&one) == policy_hash(&other), one == other);
    }
}

#[test]
fn the_smallest_difference_shows() {
    let mut specs = vec![PolicySpec::default()];
    specs.extend(Preset::ALL.map(Preset::spec));
    for change in [
        |spec: &mut PolicySpec| spec.level = Level::Full,
        |spec: &mut PolicySpec| spec.timeout.propagate_deadline = false,
        |spec: &mut PolicySpec| spec.breaker.failure_rate = 0.500_000_000_000_1,
        |spec: &mut PolicySpec| spec.timeout.call_timeout += std::time::Duration::from_nanos(1),
        |spec: &mut PolicySpec| spec.fallback.on.reverse(),
        |spec: &mut PolicySpec| spec.fallback.reserve = Some(std::time::Duration::ZERO),
        |spec: &mut PolicySpec| spec.retry.only_idempotent = false,
        |spec: &mut PolicySpec| spec.health.minimum_calls = 0,
        |spec: &mut PolicySpec| spec.fleet_hint.min_open_instances = 3,
        |spec: &mut PolicySpec| spec.rate_limit = Some(RateLimitPolicy::per_second(1)),
        |spec: &mut PolicySpec| {
            spec.rate_limit = Some(RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(1) });
        },
    ] {
        let mut spec = PolicySpec::default();
        change(&mut spec);
        specs.push(spec);
    }
    let hashes: HashSet<PolicyHash> =
        specs.iter().map(|spec| policy_hash(&Policy::new(spec.clone()).unwrap())).collect();
    assert_eq!(hashes.len(), specs.len());
}

#[test]
fn both_zeroes_are_one() {
    let mut spec = PolicySpec::default();
    spec.breaker.open_jitter_ratio = 0.0;
    let zero = Policy::new(spec.clone()).unwrap();
    spec.breaker.open_jitter_ratio = -0.0;
    assert_eq!(policy_hash(&Policy::new(spec).unwrap()), policy_hash(&zero));
}

#[test]
fn bytes_round_trip() {
    let hash = policy_hash(&Policy::default());
    assert_eq!(PolicyHash::try_from(hash.as_bytes().as_slice()), Ok(hash));
    assert_eq!(PolicyHash::try_from([0; 15].as_slice()), Err(InvalidPolicyHash(15)));
    assert_eq!(InvalidPolicyHash(0).to_string(), "a policy hash has 16 bytes, not 0");
    let all = PolicyHash::try_from((0..16).collect::<Vec<u8>>().as_slice()).unwrap();
    assert_eq!(all.to_string(), "000102030405060708090a0b0c0d0e0f");
}
