//! Configuration as Spring takes it: a dot in a key is a level below, a key in brackets is one level whatever is in it, and a
//! file may have several documents, of which those of a profile are for that profile alone.

use serde_json::{Map, Value};

/// Below these, keys are names of somebody's own, which may have dots in them.
const NAMES: &[&str] = &["instances", "configs", "backends"];

/// What all documents of a file say, later ones over earlier ones, and what was left out.
pub(super) fn merged(documents: Vec<Value>) -> (Value, Vec<String>) {
    let (mut all, mut notes) = (Map::new(), Vec::new());
    for document in documents {
        let document = nested(document, false);
        let profile = profile(&document).map(ToString::to_string);
        match (profile, document) {
            (Some(profile), _) => notes.push(format!("the document of profile {profile} is left out")),
            (None, Value::Object(entries)) => {
                entries.into_iter().for_each(|(key, value)| put(&mut all, &[key], value));
            }
            (None, _) => {}
        }
    }
    (Value::Object(all), notes)
}

/// The most levels that one key stands for: no option has as many.
const MAX_PARTS: usize = 64;

/// The profile that a document is for. `None`: it is for all, such as the one that says which profiles are active.
fn profile(document: &Value) -> Option<&Value> {
    let profile =
        document.pointer("/spring/config/activate/on-profile").or_else(|| document.pointer("/spring/profiles"));
    profile.filter(|profile| !profile.is_object())
}

/// The same with one level for each part of a key.
fn nested(value: Value, holds_names: bool) -> Value {
    let Value::Object(entries) = value else { return value };
    let mut all = Map::new();
    for (key, value) in entries {
        let path = if holds_names { named(&key, &value) } else { parts(&key) };
        let holds_names = path.last().is_some_and(|last| NAMES.contains(&last.as_str()));
        put(&mut all, &path, nested(value, holds_names));
    }
    Value::Object(all)
}

fn put(all: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    let place = all.entry(first.clone()).or_insert(Value::Null);
    match (place, value) {
        (Value::Object(inner), Value::Object(entries)) if rest.is_empty() => {
            entries.into_iter().for_each(|(key, value)| put(inner, &[key], value));
        }
        (place, value) if rest.is_empty() => *place = value,
        (Value::Object(inner), value) => put(inner, rest, value),
        (place, value) => {
            let mut inner = Map::new();
            put(&mut inner, rest, value);
            *place = Value::Object(inner);
        }
    }
}

/// `circuitbreaker.instances.[a.b]` in its three parts.
fn parts(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_quoted = false;
    for c in key.chars() {
        match c {
            '[' => is_quoted = true,
            ']' => is_quoted = false,
            '.' if !is_quoted => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.len() > MAX_PARTS { vec![key.to_owned()] } else { parts }
}

/// A key among names: the name alone, where options are below it, or the name and one option.
fn named(key: &str, value: &Value) -> Vec<String> {
    let bare = |name: &str| name.trim_start_matches('[').trim_end_matches(']').to_owned();
    match key.rsplit_once('.') {
        Some((name, option)) if !value.is_object() && !option.ends_with(']') => vec![bare(name), option.to_owned()],
        _ => vec![bare(key)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dot_is_a_level_and_brackets_are_none() {
        let table = [
            (json!({"a.b": {"c": 1}, "a": {"b.d": 2}}), json!({"a": {"b": {"c": 1, "d": 2}}})),
            (json!({"a.b": 1, "a.b.c": 2}), json!({"a": {"b": {"c": 2}}})),
            (json!({"a.[x.y].b": 1}), json!({"a": {"x.y": {"b": 1}}})),
            (json!({"instances": {"x.y": {"b": 1}}}), json!({"instances": {"x.y": {"b": 1}}})),
            (
                json!({"m.instances": {"x.b": 1, "[x.y].c": 2}}),
                json!({"m": {"instances": {"x": {"b": 1}, "x.y": {"c": 2}}}}),
            ),
            (json!({"a": [1, {"b.c": 1}]}), json!({"a": [1, {"b.c": 1}]})),
            (
                json!({"spring.profiles.active": "dev", "a": 1}),
                json!({"spring": {"profiles": {"active": "dev"}}, "a": 1}),
            ),
        ];
        for (value, expected) in table {
            assert_eq!(merged(vec![value]).0, expected);
        }
    }

    #[test]
    fn what_is_for_a_profile_is_left_out_and_named() {
        let documents = vec![
            json!({"a": {"b": 1, "c": 1}}),
            json!({"a.b": 2}),
            json!({"spring": {"config.activate.on-profile": "test"}, "a": {"b": 3}}),
            json!({"spring.profiles": "dev", "a": 4}),
        ];
        let notes = ["the document of profile \"test\" is left out", "the document of profile \"dev\" is left out"];
        assert_eq!(merged(documents), (json!({"a": {"b": 2, "c": 1}}), notes.map(str::to_owned).to_vec()));
    }
}
