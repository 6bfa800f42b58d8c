//! Who answers when the service does not.

use super::{Bench, request, three_strikes};
use cofferdam_proto::v1::fallback_step::Strategy;
use cofferdam_proto::v1::{
    CachedFallback, ExecuteWithIsolationRequest, IsolationLevel, IsolationPolicy, RegisterServiceRequest, ServedBy,
};
use cofferdam_tests::wire::{alternative, cached, degraded, registration_at, static_json};
use cofferdam_tests::{Behaviour, Upstream};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_answer_is_that_of_the_same_request() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([cached(), static_json("none kept")]).await;
    let keyed = |payload: &'static str, key: &str| ExecuteWithIsolationRequest {
        cache_key: key.into(),
        ..request("get", payload)
    };
    for ask in [request("get", "a"), request("get", "b"), request("list", "a"), keyed("c", "k")] {
        assert_eq!(bench.client.execute_with_isolation(ask).await.unwrap().served_by(), ServedBy::Live);
    }
    bench.upstream.down().await;
    for (ask, kept) in [
        (request("get", "a"), Some("a")),
        (request("get", "b"), Some("b")),
        (request("get", "c"), None),
        (request("other", "a"), None),
        (keyed("anything", "k"), Some("c")),
        (keyed("a", "j"), None),
    ] {
        let answer = bench.client.execute_with_isolation(ask.clone()).await.unwrap();
        let (by, payload) = kept.map_or((ServedBy::Static, "none kept"), |kept| (ServedBy::Cached, kept));
        assert_eq!((answer.served_by(), &answer.payload[..]), (by, payload.as_bytes()), "{ask:?}");
    }
}

/// The manager cannot read the payload, so that the fields of the request are the caller's to name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fields_that_the_policy_picks_decide_whose_answer_it_is() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let by_user = CachedFallback { key_fields: vec!["user".to_owned()], ..CachedFallback::default() };
    bench.fall_back_on([Strategy::Cached(by_user), static_json("none kept")]).await;
    let of = |payload: &'static str, fields: &[(&str, &str)]| ExecuteWithIsolationRequest {
        cache_fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..request("get", payload)
    };
    for ask in [of("ada's", &[("user", "ada"), ("trace", "1")]), of("nobody's", &[])] {
        assert_eq!(bench.client.execute_with_isolation(ask).await.unwrap().served_by(), ServedBy::Live);
    }
    bench.upstream.down().await;
    for (ask, kept) in [
        (of("other bytes", &[("user", "ada"), ("trace", "2")]), Some("ada's")),
        (of("ada's", &[("user", "bob")]), None),
        (of("nobody's", &[]), None),
    ] {
        let answer = bench.client.execute_with_isolation(ask.clone()).await.unwrap();
        let (by, payload) = kept.map_or((ServedBy::Static, "none kept"), |kept| (ServedBy::Cached, kept));
        assert_eq!((answer.served_by(), &answer.payload[..]), (by, payload.as_bytes()), "{ask:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e4_a_chain_goes_on_where_a_step_has_no_answer() {
    let mut bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    let backup = Upstream::start(Behaviour::bytes("backup data")).await;
    let request = registration_at("backup", IsolationLevel::Enhanced, &backup.address());
    bench.client.register(RegisterServiceRequest { policy: Some(three_strikes()), ..request }).await.unwrap();
    bench.fall_back_on([cached(), alternative("backup", "shop.v1.Backup/Get"), degraded("browsing")]).await;
    bench.upstream.down().await;

    let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Alternative, &b"backup data"[..]));
    assert_eq!(backup.calls_of("/shop.v1.Backup/Get"), 1);

    // The alternative has a breaker of its own, which opens like any other.
    backup.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..10 {
        let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
        assert_eq!(
            (answer.served_by(), &answer.degraded_features[..]),
            (ServedBy::Degraded, &["browsing".to_owned()][..])
        );
    }
    assert_eq!(backup.calls(), 4, "three failures open the alternative's breaker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_managers_own_calls_stand_in_the_statistics() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([static_json("{}")]).await;
    for _ in 0..3 {
        bench.client.execute("payments", "charge", "").await.unwrap();
    }
    bench.upstream.down().await;
    for _ in 0..2 {
        bench.client.execute("payments", "charge", "").await.unwrap();
    }
    let of_service = bench.client.info("payments").await.unwrap().stats.unwrap().counters.unwrap();
    let of_all = bench.client.stats().await.unwrap().stats.unwrap().counters.unwrap();
    assert_eq!(of_service, of_all);
    assert_eq!((of_all.calls, of_all.served_live, of_all.served_static), (5, 3, 2));
}
