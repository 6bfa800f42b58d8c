//! Cases with one expectation changed: each of them must fail, or the runner does not look at what it says it does.

use super::run::{Broken, run};
use super::suite::case;
use serde_json::{Value, json};

/// Runs every mutant of a case. Returns how many there were, and which of them went unnoticed.
pub(crate) fn survivors(written: &Value, policy: Option<&Value>) -> (usize, Vec<String>) {
    let mut survivors = Vec::new();
    let steps = written["steps"].as_array().map_or(0, Vec::len);
    let mut count = 0;
    for step in 0..steps {
        let expect = written["steps"][step].get("expect");
        for (path, changed) in expect.map(mutants).unwrap_or_default() {
            count += 1;
            let mut mutant = written.clone();
            mutant["steps"][step]["expect"] = changed;
            let noticed = case(&mutant).map(|case| run(&case, policy));
            if !matches!(noticed, Ok(Err(Broken::Expectation(_)))) {
                survivors.push(format!("{} step {}: {path}: {noticed:?}", written["name"], step + 1));
            }
        }
    }
    (count, survivors)
}

/// All that a value becomes by one change, with the place of the change.
fn mutants(value: &Value) -> Vec<(String, Value)> {
    let mut mutants = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                for (path, changed) in mutants_of_field(name, field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    mutants.push((format!("/{name}{path}"), Value::Object(fields)));
                }
            }
        }
        Value::Array(items) => {
            if let Some((_, fewer)) = items.split_last() {
                mutants.push(("/-".to_owned(), json!(fewer)));
            }
            for (index, item) in items.iter().enumerate() {
                for (path, changed) in self::mutants(item) {
                    let mut items = items.clone();
                    items[index] = changed;
                    mutants.push((format!("/{index}{path}"), Value::Array(items)));
                }
            }
        }
        Value::Number(_) => mutants.push((String::new(), json!(value.as_u64().unwrap_or_default() + 1))),
        Value::Bool(value) => mutants.push((String::new(), json!(!value))),
        Value::Null => mutants.push((String::new(), json!("0.001s"))),
        Value::String(text) => mutants.push((String::new(), json!(another(text)))),
    }
    mutants
}

/// Of lists, counters and parts, what is expected is all there is: neither more nor less may do.
fn mutants_of_field(name: &str, field: &Value) -> Vec<(String, Value)> {
    let mut mutants = mutants(field);
    match field {
        Value::Array(items) => {
            let more = items.last().cloned().unwrap_or_else(|| json!("0s"));
            mutants.push(("/+".to_owned(), items.iter().cloned().chain([more]).collect()));
        }
        Value::Object(fields) if name == "counters" || name == "parts" => {
            for entry in fields.keys() {
                let mut fewer = fields.clone();
                fewer.remove(entry);
                mutants.push((format!("/-{entry}"), Value::Object(fewer)));
            }
        }
        _ => {}
    }
    mutants
}

fn another(text: &str) -> String {
    match super::duration::parse(text) {
        Some(duration) => super::duration::format(duration + std::time::Duration::from_nanos(1)),
        None => format!("{text}, not"),
    }
}
