use super::{tree::Tree, *};
use crate::http::rules;
use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use http::Request;
use prost_reflect::DescriptorPool;

fn rpc(name: &str) -> Rpc {
    let routes = rules::read(&DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()).unwrap();
    routes.into_iter().map(|(_, _, rpc)| rpc).find(|rpc| rpc.method.path().ends_with(name)).unwrap()
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
