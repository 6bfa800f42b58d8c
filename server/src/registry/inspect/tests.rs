use super::*;
use crate::{
    store::{MIN_LEASE_TTL, Store, Txn},
    testing::{FaultyStore, alternative_step, fallback, registration, registry},
};
use cofferdam_proto::v1;

/// What is found in a store of two services, one reported healthy, after `change`.
async fn found(change: Txn) -> Inspection {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    for name in ["orders", "payments"] {
        let request = v1::RegisterServiceRequest { request_id: name.to_owned(), ..registration(name) };
        registry.register(request).await.unwrap();
    }
    let health = v1::ServiceHealth { status: v1::HealthStatus::Healthy.into(), ..Default::default() };
    let request =
        v1::UpdateServiceHealthRequest { service: "orders".to_owned(), health: Some(health), ..Default::default() };
    registry.report_health(request).await.unwrap();
    let chain = vec![alternative_step("payments")];
    let request = v1::UpdateFallbackConfigRequest {
        service: "orders".to_owned(),
        fallback: Some(fallback(chain)),
        ..Default::default()
    };
    registry.update_fallback(request).await.unwrap();
    drop(registry);
    store.inner().commit(change).await.unwrap();
    inspect(&store.list("").await.unwrap().entries)
}

fn problems(found: &Inspection) -> Vec<(&str, &str)> {
    found.problems.iter().map(|problem| (problem.key.as_str(), problem.reason.as_str())).collect()
}

#[tokio::test]
async fn a_store_that_a_manager_wrote_has_no_problem() {
    let found = found(Txn::new()).await;
    assert_eq!(problems(&found), []);
    assert_eq!((found.services, found.health_reports, found.requests, found.unknown), (2, 1, 2, 0));
    assert_eq!(found.epoch, Some(crate::testing::EPOCH));
}

#[tokio::test]
async fn an_empty_store_has_no_problem() {
    assert_eq!(inspect(&[]), Inspection::default());
}

#[tokio::test]
async fn each_bad_key_is_named_and_the_others_are_counted() {
    let found = found(
        Txn::new()
            .put("service/default/bad", "\u{1}")
            .put("service/Default/a", "")
            .put(
                "health/default/gone",
                super::super::record::encode_health(v1::ServiceHealth {
                    status: v1::HealthStatus::Healthy.into(),
                    ..Default::default()
                }),
            )
            .put("health/default/payments", "\u{1}")
            .put("request/00", "")
            .put("later/x", ""),
    )
    .await;
    let keys: Vec<_> = found.problems.iter().map(|problem| problem.key.as_str()).collect();
    let bad =
        ["health/default/gone", "health/default/payments", "request/00", "service/Default/a", "service/default/bad"];
    assert_eq!(keys, bad);
    assert_eq!((found.services, found.health_reports, found.unknown), (2, 2, 1));
}

#[tokio::test]
async fn an_alternative_that_is_not_there_is_a_problem() {
    let found = found(Txn::new().delete("service/default/payments")).await;
    let reason = "its alternative default/payments is not there, or cannot be read";
    assert_eq!(problems(&found), [("service/default/orders", reason)]);
}

#[tokio::test]
async fn a_missing_or_unfinished_description_is_a_problem() {
    let missing = found(Txn::new().delete(key::META)).await;
    assert_eq!(problems(&missing), [("meta/store", "it is missing, and there are other keys")]);

    let transfer = Some(Default::default());
    let meta = cofferdam_proto::storage::v1::StoreMeta { schema_version: 1, transfer, ..Default::default() };
    let unfinished = found(Txn::new().put(key::META, meta.encode_to_vec())).await;
    assert!(problems(&unfinished)[0].1.contains("has not finished"), "{unfinished:?}");

    let later = cofferdam_proto::storage::v1::StoreMeta { schema_version: 2, ..Default::default() };
    let later = found(Txn::new().put(key::META, later.encode_to_vec())).await;
    assert!(problems(&later)[0].1.contains("schema version 2"), "{later:?}");
}

#[tokio::test]
async fn managers_are_counted_and_one_that_would_stay_is_a_problem() {
    let store = FaultyStore::new();
    drop(registry(&store).await);
    let lease = store.grant_lease(MIN_LEASE_TTL).await.unwrap();
    store.commit(Txn::new().put_leased("peer/a", "", lease).put("later/x", "")).await.unwrap();
    let found = inspect(&store.list("").await.unwrap().entries);
    assert_eq!((problems(&found), found.managers, found.unknown), (vec![], 1, 1));
    store.commit(Txn::new().put("peer/b", "")).await.unwrap();
    let found = inspect(&store.list("").await.unwrap().entries);
    assert_eq!(problems(&found), [("peer/b", "it is on no lease and would stay")]);
    assert_eq!((found.managers, found.unknown), (2, 1));
}

#[tokio::test]
async fn a_result_of_a_request_that_would_stay_is_a_problem() {
    let store = FaultyStore::new();
    let lease = store.grant_lease(MIN_LEASE_TTL).await.unwrap();
    let record = RequestRecord { schema_version: SCHEMA_VERSION, ..Default::default() }.encode_to_vec();
    let txn = Txn::new().put_leased("request/00", record.clone(), lease).put("request/01", record);
    store.commit(txn.put(key::META, "")).await.unwrap();
    let found = inspect(&store.list("request/").await.unwrap().entries);
    let named: Vec<_> = found.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(named, ["meta/store", "request/01"], "the description was not among what was looked at");
}
