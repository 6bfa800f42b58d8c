use super::*;
use cofferdam_proto::FILE_DESCRIPTOR_SET;

#[test]
fn each_rpc_of_the_operators_has_a_path_and_no_path_has_two() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let routes = read(&pool).unwrap();
    for method in pool.get_service_by_name(SERVICE).unwrap().methods() {
        let is_routed = routes.iter().any(|(_, _, rpc)| rpc.name() == method.name());
        assert!(is_routed, "{} has no rule", method.name());
    }
    let mut lines: Vec<_> = routes.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let all = lines.len();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), all);
}

#[test]
fn what_has_side_effects_is_never_a_read() {
    use prost_types::method_options::IdempotencyLevel;
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    for (method, path, rpc) in read(&pool).unwrap() {
        let service = pool.get_service_by_name(SERVICE).unwrap();
        let declared = service.methods().find(|declared| declared.name() == rpc.name()).unwrap();
        let options = declared.method_descriptor_proto().options.clone().unwrap_or_default();
        let is_read = options.idempotency_level() == IdempotencyLevel::NoSideEffects;
        assert_eq!(is_read, method == Method::GET, "{method} {path}");
    }
}

#[test]
fn a_rule_that_names_what_is_not_there_is_refused() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut rule = DynamicMessage::new(pool.get_message_by_name("google.api.HttpRule").unwrap());
    rule.set_field_by_name("body", prost_reflect::Value::String("polcy".to_owned()));
    let input = pool.get_message_by_name("cofferdam.v1.UpdateIsolationPolicyRequest").unwrap();
    assert!(body(&rule, &input).unwrap_err().contains("polcy"));
    assert_eq!(pattern(&rule), None);
}
