//! The case files, read.

use super::duration::Span;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A file: cases on one subject.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "$schema")]
    _schema: String,
    pub(crate) subject: String,
    pub(crate) description: String,
    /// The policy of the cases that have none.
    pub(crate) policy: Option<Value>,
    /// The cases, each to be read as a [`Case`]: they are kept as they are written for the mutants.
    pub(crate) cases: Vec<Value>,
}

/// What happens to a service, and what is to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The test of another library that it says in our words.
    #[serde(default, rename = "source")]
    _source: Option<String>,
    /// The T-numbers that it covers.
    #[serde(default, rename = "covers")]
    pub(crate) covered: Vec<String>,
    pub(crate) policy: Option<Value>,
    /// Other services and their policies.
    #[serde(default)]
    pub(crate) services: BTreeMap<String, Value>,
    pub(crate) start: Option<Span>,
    #[serde(default, deserialize_with = "numbers")]
    pub(crate) random: Option<Vec<u64>>,
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default, rename = "note")]
    _note: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) times: Option<u32>,
    pub(crate) call: Option<Call>,
    pub(crate) begin: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) cancel: Option<String>,
    pub(crate) advance: Option<Span>,
    pub(crate) policy: Option<Value>,
    pub(crate) level: Option<String>,
    pub(crate) enabled: Option<bool>,
    pub(crate) hold: Option<HoldStep>,
    pub(crate) release: Option<String>,
    pub(crate) trip: Option<TripStep>,
    pub(crate) reset: Option<String>,
    pub(crate) hint: Option<HintStep>,
    pub(crate) wall: Option<String>,
    #[serde(default)]
    pub(crate) expect: Map<String, Value>,
}

/// An operator's hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldStep {
    pub(crate) target: String,
    pub(crate) forced: String,
    #[serde(rename = "for")]
    pub(crate) lasting: Option<Span>,
}

/// An operator's trip.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TripStep {
    pub(crate) target: String,
    #[serde(rename = "for")]
    pub(crate) lasting: Option<Span>,
}

/// What the manager says of other instances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HintStep {
    pub(crate) open: u32,
    pub(crate) instances: u32,
    pub(crate) ttl: Span,
}

/// A call, and what its service, its stand-ins and its caller do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) pool: Option<String>,
    pub(crate) idempotent: bool,
    pub(crate) key: Option<String>,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) timeout: Option<Span>,
    pub(crate) attempts: Vec<Script>,
    pub(crate) alternatives: BTreeMap<String, Vec<Script>>,
    pub(crate) degraded: Option<StandIn>,
    pub(crate) local: Option<StandIn>,
}

/// What the service does at one attempt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    pub(crate) grpc: Option<u32>,
    pub(crate) http: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) answer: String,
    pub(crate) latency: Span,
    pub(crate) never: bool,
    pub(crate) panic: bool,
    pub(crate) reached: bool,
    pub(crate) pushback: Option<String>,
    pub(crate) retry_after: Option<String>,
}

/// What the caller's own code does instead of the service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StandIn {
    pub(crate) answer: Option<String>,
    #[serde(default = "zero")]
    pub(crate) latency: Span,
    #[serde(default)]
    pub(crate) never: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            method: "test.Service/Get".to_owned(),
            pool: None,
            idempotent: false,
            key: None,
            fields: BTreeMap::new(),
            timeout: None,
            attempts: vec![Script::default()],
            alternatives: BTreeMap::new(),
            degraded: None,
            local: None,
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            grpc: None,
            http: None,
            error: None,
            answer: "live".to_owned(),
            latency: zero(),
            never: false,
            panic: false,
            reached: true,
            pushback: None,
            retry_after: None,
        }
    }
}

fn zero() -> Span {
    Span(std::time::Duration::ZERO)
}

/// Numbers of 64 bits are texts: JSON's own lose what is beyond 53.
fn numbers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u64>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let numbers = texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom));
    numbers.collect::<Result<_, _>>().map(Some)
}
