use super::*;
use crate::testing::{Manager, fallback, registration, static_step};
use cofferdam_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

fn mask(paths: &[&str]) -> Result<ReadMask, Error> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    ReadMask::read(Some(&FieldMask { paths }))
}

/// A service of which every field is set, and in its service and policies every one.
fn whole() -> v1::IsolatedService {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut message = DynamicMessage::new(pool.get_message_by_name("cofferdam.v1.IsolatedService").unwrap());
    fill(&mut message, 2);
    message.transcode_to().unwrap()
}

fn fill(message: &mut DynamicMessage, depth: usize) {
    for field in message.descriptor().fields() {
        let default = Value::default_value_for_field(&field);
        let value = match default {
            Value::Message(mut inner) => {
                if depth > 1 {
                    fill(&mut inner, depth - 1);
                }
                Value::Message(inner)
            }
            Value::List(_) => Value::List(vec![Value::default_value(&field.kind())]),
            Value::Map(_) => {
                Value::Map([(prost_reflect::MapKey::String("a".into()), Value::String("b".into()))].into())
            }
            Value::Bool(_) => Value::Bool(true),
            Value::String(_) => Value::String("text".into()),
            Value::Bytes(_) => Value::Bytes("bytes".into()),
            Value::EnumNumber(_) => Value::EnumNumber(1),
            other => other,
        };
        message.set_field(&field, value);
    }
}

/// The paths of what is set, as far as masks lead.
fn set_paths(service: &v1::IsolatedService) -> BTreeSet<String> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut message = DynamicMessage::new(pool.get_message_by_name("cofferdam.v1.IsolatedService").unwrap());
    message.transcode_from(service).unwrap();
    let mut paths = BTreeSet::new();
    for (field, value) in message.fields() {
        match value.as_message().filter(|_| !inner(field.name()).is_empty()) {
            Some(inner) => paths.extend(inner.fields().map(|(one, _)| format!("{}.{}", field.name(), one.name()))),
            None => drop(paths.insert(field.name().to_owned())),
        }
    }
    paths
}

/// The paths that the contract has, as far as masks lead.
fn all_paths() -> BTreeSet<String> {
    set_paths(&whole())
}

#[test]
fn each_field_of_the_contract_can_be_asked_for_alone() {
    let all = all_paths();
    assert!(all.len() > 40 && all.contains("policy.fleet_hint") && all.contains("service.enabled"), "{all:?}");
    for path in &all {
        let mut service = whole();
        mask(&[path]).unwrap().keep(&mut service);
        assert_eq!(set_paths(&service), [path.clone()].into(), "{path}");
    }
}

/// A mask decides what is made as well as what is sent, so both have to come to the same.
#[tokio::test]
async fn each_field_that_is_asked_for_alone_is_that_of_the_whole() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let service = "payments".to_owned();
    let mut request =
        v1::RegisterServiceRequest { fallback: Some(fallback(vec![static_step(b"{}")])), ..registration(&service) };
    request.service.as_mut().unwrap().labels = [("team".to_owned(), "money".to_owned())].into();
    client.register_service(request).await.unwrap();
    let (health, ttl) = (v1::HealthStatus::Degraded.into(), Some(prost_types::Duration { seconds: 60, nanos: 0 }));
    let health = v1::UpdateServiceHealthRequest {
        service: service.clone(),
        health: Some(v1::ServiceHealth { status: health, message: "slow".to_owned(), observe_time: None }),
        ..Default::default()
    };
    client.update_service_health(health).await.unwrap();
    let level = v1::SetIsolationLevelRequest {
        service: service.clone(),
        level: v1::IsolationLevel::Full.into(),
        ttl,
        reason: "a trial".to_owned(),
        ..Default::default()
    };
    client.set_isolation_level(level).await.unwrap();
    let hold = v1::HoldBreakerRequest {
        service,
        forced: v1::ForcedState::Open.into(),
        ttl,
        reason: "a trial".to_owned(),
        ..Default::default()
    };
    client.hold_breaker(hold).await.unwrap();

    let mut ask = async |path: &str| {
        let read_mask = Some(FieldMask { paths: vec![path.to_owned()] });
        let request = v1::ListIsolatedServicesRequest { read_mask, ..Default::default() };
        client.list_isolated_services(request).await.unwrap().into_inner().services.remove(0)
    };
    let whole = ask("*").await;
    assert!(whole.temporary_level.is_some() && whole.reported_health.is_some() && !whole.holds.is_empty(), "{whole:?}");
    for path in all_paths() {
        let mut expected = whole.clone();
        mask(&[&path]).unwrap().keep(&mut expected);
        assert_eq!(ask(&path).await, expected, "{path}");
    }
}

#[test]
fn a_field_that_has_fields_is_all_of_them() {
    let mut service = whole();
    mask(&["policy", "policy.retry", "service.name"]).unwrap().keep(&mut service);
    assert_eq!((&service.policy, &service.written_policy), (&whole().policy, &None));
    assert_eq!(service.service, Some(v1::Service { name: "text".to_owned(), ..v1::Service::default() }));
}

#[test]
fn no_mask_is_everything() {
    for all in [ReadMask::read(None), mask(&[]), mask(&["*"])] {
        let mut service = whole();
        all.unwrap().keep(&mut service);
        assert_eq!(service, whole());
    }
}

#[test]
fn a_path_that_leads_nowhere_is_refused_with_what_may_be_meant() {
    let refusal = |paths: &[&str]| match mask(paths) {
        Err(Error::Invalid { violations }) => violations,
        other => panic!("{paths:?}: {other:?}"),
    };
    for (path, expected) in [
        ("polcy", "names no field by \"polcy\": did you mean policy?"),
        ("policy.lvel", "names no field by \"policy.lvel\": did you mean policy.level?"),
        (
            "policy.timeout.call_timeout",
            "names no field by \"policy.timeout.call_timeout\": did you mean policy.timeout?",
        ),
        ("revision.epoch", "names no field by \"revision.epoch\": did you mean revision?"),
        ("", "names no field by \"\""),
    ] {
        let [violation] = &refusal(&["revision", path])[..] else { panic!("{path}") };
        assert_eq!((violation.path.as_str(), violation.description.as_str()), ("read_mask", expected));
    }
    assert_eq!(refusal(&["*", "policy"])[0].description, "must name * alone, or not at all");
    let many: Vec<String> = (0..100).map(|number| format!("no{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refusal(&many).len(), MAX_PROPOSALS);
    let long = refusal(&[&"policy.".repeat(1_000)]);
    assert!(long[0].description.len() < 300, "{}", long[0].description);
}
