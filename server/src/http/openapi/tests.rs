use super::super::tests::get;
use crate::testing::Manager;
use serde_json::Value;

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_everything_is_said() {
    let manager = Manager::start().await;
    let document = get(&manager, "/openapi.json").await.json();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some_and(Value::is_object), "{reference}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(!schema["description"].as_str().unwrap().is_empty(), "{name}");
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(!schema["description"].as_str().unwrap().is_empty(), "{name}.{field}");
        }
    }
    let level = &document["paths"]["/v1/services/{service}/level"]["put"];
    assert_eq!(level["operationId"], "SetIsolationLevel");
    assert_eq!(level["description"], "SetIsolationLevel changes the level of a service at run time.");
    let names: Vec<_> =
        level["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["service", "If-Match", "Idempotency-Key", "Cofferdam-Actor"]);
    let stats = &document["paths"]["/v1/services/{service}/stats"]["get"];
    assert_eq!(stats["operationId"], "GetIsolationStats_2");
    let revision = &document["paths"]["/v1/services/{service}/convergence"]["get"]["parameters"];
    assert!(revision.as_array().unwrap().iter().any(|one| one["name"] == "revision.epoch"), "{revision}");
}
