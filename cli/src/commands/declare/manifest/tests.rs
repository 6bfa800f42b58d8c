use super::*;
use serde_json::json;

pub(in crate::commands::declare) fn manifest(value: Value) -> Result<Manifest, Vec<String>> {
    Manifest::new("f.yaml".into(), value, "default", None)
}

#[test]
fn a_document_is_a_registration() {
    let said = manifest(json!({"service": {"name": "a"}, "level": "full", "policy": {"retry": {"maxAttempts": 2}}}));
    let said = said.unwrap();
    assert_eq!(said.key(), ("default".to_owned(), "a".to_owned()));
    assert_eq!(said.written(None).unwrap().level(), v1::IsolationLevel::Full, "it is part of the policy");
}

#[test]
fn every_fault_is_told_with_its_place() {
    for (value, lines) in [
        (json!({"policy": {}}), &["f.yaml: service: must be set"][..]),
        (
            json!({"service": {"name": "a"}, "requestId": "x"}),
            &["f.yaml: request_id and expected_revision are of one request, not of a file: leave them out"],
        ),
        (json!({"services": {}}), &["f.yaml: "]),
        (
            json!({"service": {"name": "A!"}, "policy": {"retry": {"maxAttempts": 99}, "bulkhead": {"maxConcurrent": 0}}}),
            &[
                "f.yaml: service.name: ",
                "f.yaml: policy.retry.max_attempts: ",
                "f.yaml: policy.bulkhead.max_concurrent: ",
            ],
        ),
        (
            json!({"service": {"name": "a", "endpoints": [{"address": "nonsense"}], "labels": {"k": "v".repeat(65)}}}),
            &["f.yaml: service.endpoints[0].address: ", "f.yaml: service.labels[\"k\"]: "],
        ),
        (
            json!({"service": {"name": "a"}, "level": 99, "reason": "r".repeat(300)}),
            &["f.yaml: level: ", "f.yaml: reason: "],
        ),
    ] {
        let told = manifest(value.clone()).unwrap_err();
        assert_eq!(told.len(), lines.len(), "{value}: {told:?}");
        assert!(told.iter().zip(lines).all(|(told, line)| told.starts_with(line)), "{value}: {told:?}");
    }
}

fn isolated(policy: Value) -> v1::IsolatedService {
    v1::IsolatedService {
        service: Some(v1::Service { namespace: "default".into(), name: "a".into(), ..Default::default() }),
        policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Basic.into(), ..Default::default() }),
        written_policy: Some(read(policy).unwrap()),
        ..Default::default()
    }
}

fn told(said: &Manifest, before: &v1::IsolatedService) -> Vec<String> {
    let written = said.written(Some(before)).unwrap();
    said.difference(Some(before), &written).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_service_says_of_itself_is_no_difference() {
    let before = isolated(json!({"retry": {"maxAttempts": 4}}));
    let said = Manifest { place: String::new(), request: of(&before) };
    assert_eq!(said.request.policy.as_ref().unwrap().level(), v1::IsolationLevel::Basic);
    assert_eq!(told(&said, &before), Vec::<String>::new());
    let other = manifest(json!({"service": {"name": "a", "version": "2"}, "policy": {}})).unwrap();
    assert_eq!(told(&other, &before), ["retry.max_attempts: 4 -> unset", "version: unset -> 2"]);
    let unsaid = manifest(json!({"service": {"name": "a"}})).unwrap();
    assert_eq!(told(&unsaid, &before), Vec::<String>::new(), "a policy that is not said stays");
}

/// Before, they were not looked at without a policy beside them, and `diff` said that all is as said.
#[test]
fn a_level_or_a_fallback_without_a_policy_is_a_difference() {
    let before = isolated(json!({"level": "enhanced", "retry": {"maxAttempts": 4}}));
    let level = manifest(json!({"service": {"name": "a"}, "level": "full"})).unwrap();
    assert_eq!(told(&level, &before), ["level: enhanced -> full"]);
    let fallback = manifest(json!({"service": {"name": "a"}, "fallback": {"maxRetries": 7}})).unwrap();
    assert_eq!(told(&fallback, &before), ["retry.max_attempts: 4 -> 8"]);
    let bad = manifest(json!({"service": {"name": "a"}, "fallback": {"maxRetries": 99}})).unwrap();
    let lines = bad.written(Some(&before)).unwrap_err();
    assert!(lines.len() == 1 && lines[0].starts_with("f.yaml: fallback.max_retries: "), "{lines:?}");
}

/// Before, the level of `set-level none --for 10m` was written as if it were the policy's own.
#[test]
fn a_level_that_is_in_force_for_a_time_is_not_part_of_a_document() {
    let before = v1::IsolatedService {
        policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::None.into(), ..Default::default() }),
        temporary_level: Some(v1::TemporaryLevel { level: v1::IsolationLevel::None.into(), ..Default::default() }),
        ..isolated(json!({"preset": "database"}))
    };
    let level = of(&before).policy.unwrap().level();
    assert_ne!(level, v1::IsolationLevel::None);
    assert_eq!(level, with_level(read(json!({"preset": "database"})).unwrap()).level());
}

/// Before, `-n staging` meant nothing to a document with a namespace, and what was to go there went where it said.
#[test]
fn a_namespace_of_the_command_line_is_not_contradicted() {
    let read = |namespace: &str, said| {
        let value = json!({"service": {"name": "a", "namespace": namespace}, "level": "full"});
        Manifest::new("f.yaml".into(), value, "staging", said).map(|manifest| manifest.key().0)
    };
    assert_eq!(read("", Some("staging")), Ok("staging".to_owned()));
    assert_eq!(read("staging", Some("staging")), Ok("staging".to_owned()));
    assert_eq!(read("default", None), Ok("default".to_owned()), "a context says where what names none goes");
    let refused = read("default", Some("staging")).unwrap_err();
    assert_eq!(refused, ["f.yaml: service.namespace: is default, and --namespace says staging: leave one of them out"]);
}

/// Before, a file in capitals, a link to nothing, a pipe and a folder were left out without a word, and hidden files were
/// not.
#[test]
fn of_a_folder_nothing_is_left_out_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["b.YAML", "a.json", ".hidden.yaml", "notes.txt"] {
        std::fs::write(path(name), "").unwrap();
    }
    std::fs::create_dir(path("more")).unwrap();
    std::fs::create_dir(path(".git")).unwrap();
    let found = listed(folder.path()).unwrap();
    assert_eq!((found.files, found.folders), (vec![path("a.json"), path("b.YAML")], vec![path("more")]));
    std::os::unix::fs::symlink(path("nowhere"), path("d.yaml")).unwrap();
    let error = listed(folder.path()).unwrap_err().to_string();
    assert!(error.contains("d.yaml cannot be read: No such file"), "{error}");
    std::fs::remove_file(path("d.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("s.yaml")).unwrap();
    assert!(listed(folder.path()).unwrap_err().to_string().ends_with("s.yaml is no file"));
}
