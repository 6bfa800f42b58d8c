use super::to_wire;
use crate::policy::{Policy, Preset};
use crate::wire::effective_policy;
use crate::wire::testing::policy;
use cofferdam_proto::v1;
use proptest::prelude::*;
use prost::Message as _;

proptest! {
    #[test]
    fn any_policy_survives_the_wire(policy in policy()) {
        let message = to_wire(&policy);
        let decoded = v1::IsolationPolicy::decode(message.encode_to_vec().as_slice()).unwrap();
        prop_assert_eq!(effective_policy(&decoded).unwrap(), policy);
    }
}

#[test]
fn presets_are_expanded() {
    for preset in Preset::ALL {
        let message = to_wire(&Policy::new(preset.spec()).unwrap());
        assert_eq!(message.preset, "");
        assert_eq!(effective_policy(&message).unwrap().to_spec(), preset.spec());
    }
}

#[test]
fn every_field_in_force_is_set() {
    let message = to_wire(&Policy::default());
    let breaker = message.circuit_breaker.unwrap();
    assert_eq!(message.level(), v1::IsolationLevel::Basic);
    assert_eq!(breaker.failure_count, Some(0));
    assert_eq!(breaker.mode(), v1::BreakerMode::Auto);
    assert_eq!(breaker.half_open_lease, Some(prost_types::Duration::default()));
    assert_eq!((message.hedge, message.rate_limit), (None, None), "off is written as nothing");
    assert_eq!(message.fallback.unwrap().on, [1, 2, 3, 4, 5]);
    assert_eq!(message.classification.unwrap().grpc_failure_codes, [2, 4, 13, 14, 15]);
}
