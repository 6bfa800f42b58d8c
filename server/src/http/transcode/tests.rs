use super::{tree::Tree, *};
use crate::http::rules;
use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use http::Request;
use prost_reflect::DescriptorPool;

fn rpc(name: &str) -> Rpc {
    let routes = rules::read(&DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()).unwrap();
    routes.into_iter().map(|(_, _, rpc)| rpc).find(|rpc| rpc.method.path().ends_with(name)).unwrap()
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn request(rpc: &Rpc, variables: &Variables, head: &Parts, body: &[u8]) -> Result<Bytes, Problem> {
    let asked = wait_for(super::request(rpc, variables, head, Bytes::copy_from_slice(body)))?;
    Ok(asked.attempts().next().unwrap())
}

fn response(rpc: &Rpc, answer: &[u8]) -> Result<Response<Bytes>, Problem> {
    wait_for(super::response(rpc, Bytes::copy_from_slice(answer)))
}

#[test]
fn path_query_body_and_headers_make_one_message() {
    let head = Request::patch(
        "/v1/services/payments?namespace=prod&insist=true&reason=why&update_mask=retry,timeout.call_timeout",
    );
    let head = head.header("content-type", "application/json; charset=UTF-8").header("if-match", "\"7-9\"");
    let head = head.header("idempotency-key", "abc").body(()).unwrap().into_parts().0;
    let variables = vec![("service".to_owned(), "payments".to_owned())];
    let body = br#"{"retry": {"maxAttempts": 3}}"#;
    let message = request(&rpc("/UpdateIsolationPolicy"), &variables, &head, body).unwrap();
    let message = v1::UpdateIsolationPolicyRequest::decode(message).unwrap();
    let retry = v1::RetryPolicy { max_attempts: Some(3), ..Default::default() };
    let paths = vec!["retry".to_owned(), "timeout.call_timeout".to_owned()];
    let expected = v1::UpdateIsolationPolicyRequest {
        namespace: "prod".to_owned(),
        service: "payments".to_owned(),
        policy: Some(v1::IsolationPolicy { retry: Some(retry), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths }),
        expected_revision: Some(v1::Revision { epoch: 7, revision: 9 }),
        request_id: "abc".to_owned(),
        insist: true,
        reason: "why".to_owned(),
    };
    assert_eq!(message, expected);
}

/// What is wrong with a request without a body, as `field: description`.
fn faults_of(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Vec<String>> {
    let mut head = Request::get(uri);
    for (name, value) in headers {
        head = head.header(*name, *value);
    }
    let said = request(&rpc(method), &Vec::new(), &head.body(()).unwrap().into_parts().0, b"");
    said.map(|_| ()).map_err(|problem| {
        problem.violations().iter().map(|fault| format!("{}: {}", fault.field, fault.description)).collect()
    })
}

#[test]
fn one_of_two_that_exclude_each_other_does_not_take_the_others_place() {
    let (time, revision) = ("at.time=2020-01-01T00:00:00Z", "at.revision.revision=1");
    for (query, second) in [(format!("{time}&{revision}"), "time"), (format!("{revision}&{time}"), "revision")] {
        let faults = faults_of("/GetRevision", &format!("/v1?service=payments&{query}"), &[]).unwrap_err();
        let excluded = format!("is one of two that exclude each other: {second} is there as well");
        assert!(faults.len() == 1 && faults[0].ends_with(&excluded), "{faults:?}");
    }
}

#[test]
fn what_is_said_twice_is_the_same_even_where_it_is_a_default() {
    for query in ["includeServices=false&include_services=true", "pageSize=0&page_size=1", "pageSize=1&pageSize=0"] {
        let faults = faults_of("/GetIsolationStats", &format!("/v1?{query}"), &[]).unwrap_err();
        assert!(faults.len() == 1 && faults[0].ends_with("is there twice, and not the same"), "{faults:?}");
    }
    faults_of("/GetIsolationStats", "/v1?pageSize=1&page_size=1", &[]).unwrap();
}

#[test]
fn an_entity_tag_is_taken_as_it_is_written_only() {
    let rpc = rpc("/UnregisterService");
    let expected = |tag: &str| {
        let head = Request::delete("/v1?service=a").header("if-match", tag).body(()).unwrap().into_parts().0;
        let asked = wait_for(super::request(&rpc, &Vec::new(), &head, Bytes::new())).unwrap();
        let revision = |message| v1::UnregisterServiceRequest::decode(message).unwrap().expected_revision;
        asked.attempts().map(revision).collect::<Vec<_>>()
    };
    let at = |epoch, revision| Some(v1::Revision { epoch, revision });
    assert_eq!(expected("\"7-9\""), [at(7, 9)]);
    assert_eq!(expected("\"7-9\", W/\"7-11\", \"7-10\", \"8-1\", \"7-9\""), [at(8, 1), at(7, 10), at(7, 9)]);
    assert_eq!(expected("*"), [None]);
    for other in ["\"0-2\"", "\"7-0\"", "\"+1-+2\"", "\"07-9\"", "\"*\"", "W/\"7-9\"", "\"1-99999999999999999999\""] {
        assert_eq!(expected(other), [at(u64::MAX, u64::MAX)], "{other}");
    }
}

#[test]
fn if_match_of_anything_is_for_what_must_be_there() {
    let any = [("if-match", "*")];
    assert!(faults_of("/UnregisterService", "/v1?service=a", &any).is_ok());
    let head = Request::post("/v1").header("content-type", "application/json").header("if-match", "*");
    let head = head.body(()).unwrap().into_parts().0;
    let said = request(&rpc("/RegisterService"), &Vec::new(), &head, br#"{"service":{"name":"a"}}"#);
    assert_eq!(said.unwrap_err().violations()[0].field, "If-Match");
}

#[test]
fn a_body_of_a_million_faults_is_looked_at_no_longer_than_one_of_a_few() {
    let list =
        |last: &str| format!(r#"{{"service":{{"name":"a"}},"policy":{{"retry":{{"retryableGrpcCodes":[{last}]}}}}}}"#);
    let head = Request::post("/v1").header("content-type", "application/json").body(()).unwrap().into_parts().0;
    let faults = |body: String| {
        let problem = request(&rpc("/RegisterService"), &Vec::new(), &head, body.as_bytes()).unwrap_err();
        problem.violations().to_vec()
    };
    let near = faults(list("1,1,\"x\""));
    assert_eq!(near[0].field, "policy.retry.retryable_grpc_codes[2]");
    // Far behind, it is told without its place: each value that is tried costs as much as a small body.
    let far = faults(list(&format!("{}\"x\"", "1,".repeat(900_000))));
    assert_eq!((far.len(), far[0].field.as_str()), (1, ""));
    let many = faults(list(&"\"x\",".repeat(100_000)).replace(",]", "]"));
    assert_eq!(many.len(), json::MAX_FAULTS);
}

#[test]
fn a_callers_own_words_come_back_shortened() {
    let head = Request::post("/v1").header("content-type", "application/json").body(()).unwrap().into_parts().0;
    let name = "\u{7f}".repeat(1_000_000);
    for body in [format!(r#"{{"service":{{"labels":{{"{name}":null}}}}}}"#), format!(r#"{{"{name}":1}}"#)] {
        let problem = request(&rpc("/RegisterService"), &Vec::new(), &head, body.as_bytes()).unwrap_err();
        let said = problem.into_response().into_body();
        assert!(said.len() < 8 * 1024, "{} bytes", said.len());
    }
    let faults = faults_of("/GetIsolationStats", &format!("/v1?{}", "a&".repeat(7_500)), &[]).unwrap_err();
    assert_eq!(faults.len(), json::MAX_FAULTS);
}

#[test]
fn what_path_and_body_say_of_one_field_has_to_be_the_same() {
    let rpc = rpc("/SetIsolationLevel");
    let head = Request::put("/").header("content-type", "application/json").body(()).unwrap().into_parts().0;
    let variables = vec![("service".to_owned(), "a".to_owned())];
    assert!(request(&rpc, &variables, &head, br#"{"service": "a", "level": 1}"#).is_ok());
    assert!(request(&rpc, &variables, &head, br#"{"service": "b", "level": 1}"#).is_err());
}

#[test]
fn an_answer_without_a_service_has_no_entity_tag() {
    let answer = v1::GetIsolationStatsResponse::default().encode_to_vec();
    let said = response(&rpc("/GetIsolationStats"), &answer).unwrap();
    assert_eq!((said.headers().get(header::ETAG), said.body().as_ref()), (None, &b"{}\n"[..]));
    assert!(response(&rpc("/GetIsolationStats"), b"\xff").is_err());
}

#[test]
fn json_is_kept_as_it_was_written_and_never_too_deep() {
    let tree: Tree = serde_json::from_str(r#"{"a": [1, -2, 0.5, "x", true, null], "a": {}}"#).unwrap();
    assert!(matches!(&tree, Tree::Object(fields) if fields.len() == 2));
    assert_eq!(tree.to_value(), serde_json::json!({"a": {}}));
    assert!(serde_json::from_str::<Tree>(&"[".repeat(100_000)).is_err());
}
