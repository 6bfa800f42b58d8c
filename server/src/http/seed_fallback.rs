//! The fallback configuration that isolation managers in Go keep as JSON, in the contract's words: one `strategy` with its
//! `fallback_data` is a chain of one step.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// The strategies that there are.
pub const STRATEGIES: [&str; 4] = ["static", "cached", "alternative", "degraded"];

/// What is beside a strategy, as `fallback_data`.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Its fields.
    pub fields: &'a Map<String, Value>,
    /// The whole as JSON: what a static answer is.
    pub text: &'a str,
}

/// A step of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The step, in the contract's JSON.
    pub step: Value,
    /// Names in the data that mean nothing to the strategy.
    pub unused: Vec<String>,
}

/// The step that a strategy is, with its data.
///
/// # Errors
/// What is wrong with the strategy.
pub fn step(strategy: &str, data: Option<Data<'_>>) -> Result<Step, String> {
    let value = |name: &str| data.and_then(|data| data.fields.get(name));
    let (step, used): (Value, &[&str]) = match strategy {
        "static" => {
            let payload = data.map_or("{}", |data| data.text);
            let step = json!({"payload": STANDARD.encode(payload), "contentType": "application/json"});
            return Ok(Step { step: json!({"static": step}), unused: Vec::new() });
        }
        "cached" => (json!({"cached": {}}), &[]),
        "alternative" => {
            let Some(service) = value(SERVICE) else {
                return Err(format!("alternative needs fallback_data.{SERVICE}"));
            };
            let mut step = json!({"service": service});
            if let Some(method) = value(METHOD) {
                step["method"] = method.clone();
            }
            (json!({"alternative": step}), &[SERVICE, METHOD])
        }
        "degraded" => {
            let features = value(FEATURES).cloned().unwrap_or_else(|| json!([]));
            (json!({"degraded": {"features": features}}), &[FEATURES])
        }
        other => return Err(format!("must be one of {}, and is {other:?}", STRATEGIES.join(", "))),
    };
    let names = data.into_iter().flat_map(|data| data.fields.keys());
    let unused = names.filter(|name| !used.contains(&name.as_str())).cloned().collect();
    Ok(Step { step, unused })
}

const SERVICE: &str = "alternative_service";
const METHOD: &str = "alternative_method";
const FEATURES: &str = "degraded_features";
