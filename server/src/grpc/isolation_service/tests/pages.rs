//! Lists in pages.

use cofferdam_proto::v1;
use tonic::{Code, transport::Channel};

use crate::testing::{Manager, fallback, registration, static_step};
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;

async fn page(
    client: &mut IsolationServiceClient<Channel>,
    namespace: &str,
    size: i32,
    token: &str,
) -> (Vec<String>, String) {
    let request = v1::ListIsolatedServicesRequest {
        namespace: namespace.to_owned(),
        page_size: size,
        page_token: token.to_owned(),
        ..Default::default()
    };
    let answer = client.list_isolated_services(request).await.unwrap().into_inner();
    let name = |service: v1::IsolatedService| {
        let service = service.service.unwrap();
        format!("{}/{}", service.namespace, service.name)
    };
    (answer.services.into_iter().map(name).collect(), answer.next_page_token)
}

async fn register(client: &mut IsolationServiceClient<Channel>, namespace: &str, name: &str) {
    let mut request = registration(name);
    request.service.as_mut().unwrap().namespace = namespace.to_owned();
    client.register_service(request).await.unwrap();
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_services_come_and_go() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    for name in ["b", "d", "f", "h"] {
        register(&mut client, "default", name).await;
    }
    let (first, token) = page(&mut client, "", 2, "").await;
    assert_eq!(first, ["default/b", "default/d"]);
    // One comes before what was listed, one after; the last one listed goes.
    register(&mut client, "default", "a").await;
    register(&mut client, "default", "e").await;
    let gone = v1::UnregisterServiceRequest { service: "d".to_owned(), ..Default::default() };
    client.unregister_service(gone).await.unwrap();
    let (second, token) = page(&mut client, "", 2, &token).await;
    assert_eq!(second, ["default/e", "default/f"]);
    let (last, token) = page(&mut client, "", 2, &token).await;
    assert_eq!((last, token), (vec!["default/h".to_owned()], String::new()));
}

#[tokio::test]
async fn one_namespace_or_all() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    for (namespace, name) in [("eu", "payments"), ("us", "payments"), ("default", "payments")] {
        register(&mut client, namespace, name).await;
    }
    assert_eq!(page(&mut client, "", 0, "").await.0, ["default/payments"]);
    assert_eq!(page(&mut client, "us", 0, "").await.0, ["us/payments"]);
    assert_eq!(page(&mut client, "*", 0, "").await.0, ["default/payments", "eu/payments", "us/payments"]);
    let (first, token) = page(&mut client, "*", 1, "").await;
    assert_eq!(first, ["default/payments"]);
    assert_eq!(page(&mut client, "*", 5, &token).await.0, ["eu/payments", "us/payments"]);

    for namespace in ["", "*"] {
        let asked = v1::GetIsolationStatsRequest { namespace: namespace.to_owned(), ..Default::default() };
        let stats = client.get_isolation_stats(asked).await.unwrap().into_inner().stats.unwrap();
        assert_eq!(stats.total_services, 3, "of {namespace:?}");
    }
    let namespace = "*".to_owned();
    let asked = v1::GetConvergenceRequest { namespace: namespace.clone(), ..Default::default() };
    let convergence = client.get_convergence(asked).await.unwrap_err();
    let asked = v1::GetDependencyGraphRequest { namespace, ..Default::default() };
    let graph = client.get_dependency_graph(asked).await.unwrap_err();
    for refusal in [convergence, graph] {
        assert!(refusal.message().contains("must be one namespace"), "{refusal}");
    }
}

#[tokio::test]
async fn a_token_is_for_the_pages_that_it_came_with() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let namespace = "us".to_owned();
    let elsewhere = v1::ListIsolatedServicesRequest { namespace, page_token: "eu/a".into(), ..Default::default() };
    let alone = v1::GetIsolationStatsRequest { page_token: "eu/a".into(), ..Default::default() };
    let refused = [
        client.list_isolated_services(elsewhere).await.unwrap_err(),
        client.get_isolation_stats(alone).await.unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("page_token"), "{refused}");
    }
}

#[tokio::test]
async fn a_page_of_large_policies_fits_into_a_message() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let large: &'static [u8] = vec![7; 60 * 1024].leak();
    for index in 0..50 {
        let request = v1::RegisterServiceRequest {
            fallback: Some(fallback(vec![static_step(large)])),
            ..registration(&format!("s{index:02}"))
        };
        client.register_service(request).await.unwrap();
    }
    let (mut all, mut token) = page(&mut client, "", 1000, "").await;
    assert!(!token.is_empty(), "50 services of 120 KiB are more than one message takes");
    while !token.is_empty() {
        let (more, next) = page(&mut client, "", 1000, &token).await;
        all.extend(more);
        token = next;
    }
    let expected: Vec<_> = (0..50).map(|index| format!("default/s{index:02}")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_list_has_the_fields_that_are_asked_for() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    register(&mut client, "default", "payments").await;
    let level = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: v1::IsolationLevel::Full.into(),
        ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        reason: "a trial".to_owned(),
        ..Default::default()
    };
    client.set_isolation_level(level).await.unwrap();
    let request = |paths: &[&str]| v1::ListIsolatedServicesRequest {
        read_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        ..Default::default()
    };
    let listed = client.list_isolated_services(request(&["service.name", "policy.level", "revision"])).await.unwrap();
    let service = listed.into_inner().services.remove(0);
    let expected = v1::IsolatedService {
        service: Some(v1::Service { name: "payments".to_owned(), ..Default::default() }),
        // As it counts now, though the temporary level itself is not asked for.
        policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Full.into(), ..Default::default() }),
        revision: service.revision,
        ..Default::default()
    };
    assert!(service.revision.is_some());
    assert_eq!(service, expected);
    let refused = client.list_isolated_services(request(&["policy.lvl"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("did you mean policy.level?"), "{refused:?}");
}

#[tokio::test]
async fn bad_sizes_and_tokens_are_refused() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    for (namespace, size, token) in [("", -1, ""), ("", 1001, ""), ("", 1, "no/such/token"), ("A", 1, "")] {
        let request = v1::ListIsolatedServicesRequest {
            namespace: namespace.to_owned(),
            page_size: size,
            page_token: token.to_owned(),
            ..Default::default()
        };
        let refused = client.list_isolated_services(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{namespace:?} {size} {token:?}");
    }
}
