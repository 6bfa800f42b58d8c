use super::*;
use crate::{
    registry::{Registry, key, record::SCHEMA_VERSION},
    store::{Store, Txn},
    testing::{FaultyStore, eventually, registration, registry},
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost_reflect::{Kind, MessageDescriptor};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The next release's record, as far as the tests need it: what this release knows, and more.
#[derive(Clone, PartialEq, Message)]
struct NextRecord {
    #[prost(uint32, tag = "1")]
    schema_version: u32,
    #[prost(message, optional, tag = "2")]
    service: Option<NextService>,
    #[prost(message, optional, tag = "3")]
    policy: Option<NextPolicy>,
    #[prost(string, tag = "900")]
    owner: String,
}

#[derive(Clone, PartialEq, Message)]
struct NextService {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(message, repeated, tag = "5")]
    endpoints: Vec<NextEndpoint>,
    #[prost(fixed64, tag = "901")]
    cost_centre: u64,
}

#[derive(Clone, PartialEq, Message)]
struct NextEndpoint {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(uint32, tag = "902")]
    weight: u32,
}

#[derive(Clone, PartialEq, Message)]
struct NextPolicy {
    #[prost(enumeration = "v1::IsolationLevel", tag = "1")]
    level: i32,
    #[prost(message, optional, tag = "3")]
    timeout: Option<NextTimeout>,
    #[prost(message, optional, tag = "903")]
    shadow: Option<NextTimeout>,
}

#[derive(Clone, PartialEq, Message)]
struct NextTimeout {
    #[prost(message, optional, tag = "1")]
    call_timeout: Option<prost_types::Duration>,
    #[prost(double, tag = "904")]
    spread: f64,
}

fn endpoint(address: &str, weight: u32) -> NextEndpoint {
    NextEndpoint { address: address.to_owned(), weight }
}

fn timeout(seconds: i64, spread: f64) -> Option<NextTimeout> {
    Some(NextTimeout { call_timeout: Some(prost_types::Duration { seconds, nanos: 0 }), spread })
}

fn next_record() -> NextRecord {
    let service = NextService {
        namespace: "default".to_owned(),
        name: "payments".to_owned(),
        description: String::new(),
        endpoints: vec![endpoint("127.0.0.1:1", 7), endpoint("127.0.0.1:2", 8)],
        cost_centre: 42,
    };
    let policy =
        NextPolicy { level: v1::IsolationLevel::Basic.into(), timeout: timeout(2, 0.5), shadow: timeout(9, 0.25) };
    NextRecord {
        schema_version: SCHEMA_VERSION,
        service: Some(service),
        policy: Some(policy),
        owner: "team".to_owned(),
    }
}

/// A manager of this release on a store with the next one's record.
async fn downgraded() -> (Arc<FaultyStore>, Registry) {
    let store = FaultyStore::new();
    let value = next_record().encode_to_vec();
    store.inner().commit(Txn::new().put("service/default/payments", value)).await.unwrap();
    let registry = registry(&store).await;
    eventually(&registry, || !registry.services(None).is_empty()).await;
    (store, registry)
}

/// What the next release reads after it.
async fn stored(store: &FaultyStore) -> NextRecord {
    let listing = store.list("service/").await.unwrap();
    NextRecord::decode(listing.entries[0].value.clone()).unwrap()
}

#[tokio::test]
async fn what_the_next_release_wrote_is_still_there_after_a_change_by_this_one() {
    let (store, registry) = downgraded().await;
    assert!(registry.services(None)[0].is_of_later_release());
    let request = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: v1::IsolationLevel::Full.into(),
        ..Default::default()
    };
    registry.set_level(request).await.unwrap();
    let mut expected = next_record();
    expected.policy.as_mut().unwrap().set_level(v1::IsolationLevel::Full);
    assert_eq!(stored(&store).await, expected);

    // And by the next change, which reads what the first one wrote.
    let call_timeout = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    let policy = v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy { call_timeout, ..Default::default() }),
        ..Default::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["timeout.call_timeout".to_owned()] });
    let request = v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(policy),
        update_mask,
        ..Default::default()
    };
    registry.update_policy(request).await.unwrap();
    expected.policy.as_mut().unwrap().timeout = timeout(3, 0.5);
    assert_eq!(stored(&store).await, expected);
}

#[tokio::test]
async fn an_element_of_a_list_keeps_its_own_and_gives_it_to_no_other() {
    let (store, registry) = downgraded().await;
    let mut request = registration("payments");
    let service = request.service.as_mut().unwrap();
    let address = |address: &str| v1::Endpoint { address: address.to_owned() };
    service.endpoints = vec![address("127.0.0.1:3"), address("127.0.0.1:2")];
    registry.register(request).await.unwrap();
    let service = stored(&store).await.service.unwrap();
    assert_eq!(service.endpoints, [endpoint("127.0.0.1:3", 0), endpoint("127.0.0.1:2", 8)]);
    assert_eq!(service.cost_centre, 42);
}

#[tokio::test]
async fn the_stores_description_keeps_its_own_over_a_new_epoch() {
    #[derive(Clone, PartialEq, Message)]
    struct NextMeta {
        #[prost(uint32, tag = "1")]
        schema_version: u32,
        #[prost(uint64, tag = "2")]
        epoch: u64,
        #[prost(string, tag = "3")]
        store_identity: String,
        #[prost(string, tag = "900")]
        region: String,
    }
    let next = NextMeta {
        schema_version: SCHEMA_VERSION,
        epoch: 7,
        store_identity: "another store".to_owned(),
        region: "eu".to_owned(),
    };
    let store = FaultyStore::new();
    store.inner().commit(Txn::new().put(key::META, next.encode_to_vec())).await.unwrap();
    let registry = registry(&store).await;
    let listing = store.list(key::META).await.unwrap();
    let after = NextMeta::decode(listing.entries[0].value.clone()).unwrap();
    assert_eq!((after.epoch, &*after.region), (registry.head().epoch, "eu"));
    assert!(after.epoch > 7);
}

#[test]
fn a_value_of_this_release_is_written_as_ever() {
    let record = storage::ServiceRecord { schema_version: SCHEMA_VERSION, ..Default::default() };
    let value = record.encode_to_vec();
    assert!(!is_in(&value, &record));
    assert_eq!(carry_over(Some(&value), &record), value);
    assert_eq!(carry_over(None, &record), value);
    assert_eq!(carry_over(Some(b"\xff"), &record), value, "what cannot be read has nothing to keep");
}

#[test]
fn every_stored_message_is_in_the_contract() {
    let pool = DESCRIPTORS.as_ref().unwrap();
    for name in [storage::StoreMeta::NAME, storage::ServiceRecord::NAME] {
        assert!(pool.get_message_by_name(name).is_some(), "{name}");
    }
}

/// Each choice in what is stored, with all that may be chosen, as of a version of the schema.
///
/// An older release does not know a new choice: it would keep it beside the one that it sets instead, and whoever read both
/// would take the wrong one. So a change here wants another schema version.
const CHOICES: (u32, &[(&str, &[&str])]) = (
    1,
    &[
        ("cofferdam.v1.BreakerCommand.action", &["trip", "reset"]),
        ("cofferdam.v1.CircuitBreakerPolicy.window", &["time_window", "count_window"]),
        ("cofferdam.v1.FallbackStep.strategy", &["static", "cached", "alternative", "degraded"]),
    ],
);

/// Collects the choices of a message and of all that it holds.
fn choices(message: &MessageDescriptor, seen: &mut BTreeSet<String>, found: &mut BTreeMap<String, Vec<String>>) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
        let names = choice.fields().map(|field| field.name().to_owned()).collect();
        found.insert(choice.full_name().to_owned(), names);
    }
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind() {
            choices(&inner, seen, found);
        }
    }
}

#[test]
fn what_is_stored_gets_no_new_choice_without_another_schema() {
    let pool = DESCRIPTORS.as_ref().unwrap();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeMap::new());
    for message in pool.all_messages().filter(|message| message.package_name() == "cofferdam.storage.v1") {
        choices(&message, &mut seen, &mut found);
    }
    let known = CHOICES.1.iter().map(|(name, fields)| {
        let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        ((*name).to_owned(), fields)
    });
    assert_eq!((SCHEMA_VERSION, found), (CHOICES.0, known.collect()));
}
