use super::*;
use crate::testing::{Manager, registration};
use cofferdam_proto::v1;
use tonic::Code;

fn counted(requests: &Requests) -> Vec<(String, usize, u64)> {
    let counts = requests.counts().into_iter().filter(|one| one.count > 0);
    counts.map(|RequestCount { rpc, code, count }| (rpc.unwrap_or_default(), code, count)).collect()
}

#[test]
fn every_rpc_is_shown_from_the_start() {
    let requests = Requests::default();
    let rpcs: Vec<_> = requests.counts().into_iter().map(|one| (one.rpc, one.code, one.count)).collect();
    for rpc in [
        "cofferdam.v1.IsolationService/RegisterService",
        "cofferdam.v1.PolicySyncService/Sync",
        "cofferdam.v1.PeerService/CollectStats",
        "grpc.health.v1.Health/Check",
        REFLECTION[0],
    ] {
        assert!(rpcs.contains(&(Some(rpc.to_owned()), 0, 0)), "{rpc}: {rpcs:?}");
    }
    assert_eq!(rpcs.last(), Some(&(None, 0, 0)));
}

#[test]
fn what_there_is_not_is_counted_together() {
    let requests = Requests::default();
    for path in ["/a.B/C", "/", "", "/cofferdam.v1.IsolationService/", "cofferdam.v1.IsolationService/RegisterService"]
    {
        requests.count(path, 12);
    }
    requests.count("/a.B/C", 17);
    assert_eq!(counted(&requests), [(String::new(), 12, 5)], "there is no code 17");
}

#[tokio::test]
async fn requests_are_counted_by_what_they_were_answered_whichever_way_they_came() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(registration("payments")).await.unwrap();
    let none = v1::GetServiceIsolationInfoRequest { service: "nobody".to_owned(), ..Default::default() };
    for _ in 0..2 {
        assert_eq!(client.get_service_isolation_info(none.clone()).await.unwrap_err().code(), Code::NotFound);
    }
    let request = http::Request::get("/v1/services/nobody")
        .header("host", "localhost")
        .body(http_body_util::Full::<bytes::Bytes>::default());
    assert_eq!(manager.http.answer(request.unwrap()).await.status(), 404);
    let seen = manager.metrics.scrape(crate::metrics::Format::Prometheus).await.unwrap();
    let of = |rpc: &str, code: &str| format!("cofferdam_requests_total{{rpc=\"{rpc}\",code=\"{code}\"}}");
    for (sample, count) in [
        (of("cofferdam.v1.IsolationService/RegisterService", "OK"), 1),
        (of("cofferdam.v1.IsolationService/GetServiceIsolationInfo", "NOT_FOUND"), 3),
        (of("cofferdam.v1.IsolationService/GetServiceIsolationInfo", "OK"), 0),
    ] {
        assert!(seen.contains(&format!("{sample} {count}\n")), "{sample}: {seen}");
    }
}
