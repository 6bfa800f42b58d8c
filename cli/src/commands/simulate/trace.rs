//! Recorded calls: a line of JSON for each, or CSV.

use crate::commands::moment::of_day;
use cofferdam_core::outcome::Outcome;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, UNIX_EPOCH};

/// The most calls of a trace.
const MAX_CALLS: usize = 5_000_000;

/// Recorded calls by when they began, counted from the first.
#[derive(Debug, Default)]
pub(super) struct Trace {
    records: Vec<Record>,
}

/// A call, and what the service did.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// When it began.
    pub(super) at: Duration,
    /// What was called. Empty: not said.
    pub(super) method: String,
    /// The pool that it named.
    pub(super) pool: Option<String>,
    /// How long the service took.
    pub(super) latency: Duration,
    /// What it said.
    pub(super) said: Said,
    /// Whether the call may safely run twice.
    pub(super) is_idempotent: bool,
    /// Whether it may have reached the service.
    pub(super) has_reached: bool,
}

/// What a service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A gRPC status code.
    Grpc(u32),
    /// An HTTP status.
    Http(u32),
    /// What it means, whatever it was.
    Outcome(Outcome),
}

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct TraceFault {
    line: usize,
    what: String,
}

/// A line, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: Value,
    #[serde(default)]
    method: String,
    #[serde(default)]
    pool: String,
    latency: Option<Value>,
    code: Option<Value>,
    http: Option<Value>,
    outcome: Option<String>,
    #[serde(default)]
    idempotent: Option<Value>,
    #[serde(default)]
    reached: Option<Value>,
}

impl Trace {
    /// The calls that a text tells of. They need not be in order.
    ///
    /// # Errors
    ///
    /// The first line that tells of none.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TraceFault> {
        let at = |line: usize, what: &str| TraceFault { line, what: what.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| at(1, "the trace is no text in UTF-8"))?;
        // As spreadsheets begin a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.by_ref().filter(|(_, line)| !line.is_empty()).peekable();
        let header = match lines.peek() {
            None => return Err(at(1, "the trace has no calls")),
            Some((_, line)) if line.starts_with('{') => None,
            Some((number, line)) if line.starts_with('[') => {
                return Err(at(*number, "a list of calls is none: a call is a line, {...} without [ and commas"));
            }
            Some((number, line)) => {
                let names = line.split(',').map(str::trim).collect::<Vec<_>>();
                let mut columns = names.iter().enumerate();
                if let Some((_, name)) =
                    columns.find(|(column, name)| names.iter().take(*column).any(|one| one == *name))
                {
                    return Err(at(*number, &format!("two columns are called {name}")));
                }
                lines.next();
                Some(names)
            }
        };
        let (mut records, mut of_day) = (Vec::new(), None);
        for (number, line) in lines {
            let value = match &header {
                None => serde_json::from_str(line).map_err(|error| at(number, &error.to_string()))?,
                Some(names) => cells(names, line).map_err(|what| at(number, &what))?,
            };
            let line: Line = serde_json::from_value(value).map_err(|error| at(number, &error.to_string()))?;
            let (record, is_of_day) = record(line).map_err(|what| at(number, &what))?;
            if *of_day.get_or_insert(is_of_day) != is_of_day {
                return Err(at(number, "at must be a time of day in all lines, or in none"));
            }
            records.push(record);
            if records.len() > MAX_CALLS {
                return Err(at(number, "a trace has at most 5000000 calls"));
            }
        }
        records.sort_by_key(|record| record.at);
        let first = records.first().map(|record| record.at).unwrap_or_default();
        records.iter_mut().for_each(|record| record.at = record.at.saturating_sub(first));
        if records.is_empty() { Err(at(1, "the trace has no calls")) } else { Ok(Self { records }) }
    }

    /// The calls, by when they began.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// What the service did last at a time: of the same method where that was called before.
    pub(super) fn at(&self, now: Duration, method: &str) -> Option<&Record> {
        let before = &self.records[..self.records.partition_point(|record| record.at <= now)];
        // Far back it says nothing of the service as it was then.
        let recent = before.iter().rev().take(RECENT);
        recent.clone().find(|record| record.method == method).or_else(|| before.last())
    }
}

/// How many calls back one of the same method is looked for.
const RECENT: usize = 1_000;

/// A line of CSV by the names of its columns. Cells have no quotes and no commas in them; an empty one is left out.
fn cells(names: &[&str], line: &str) -> Result<Value, String> {
    let cells: Vec<_> = line.split(',').map(str::trim).collect();
    if cells.len() != names.len() {
        return Err(format!("has {} cells and not {}: quotes are not known", cells.len(), names.len()));
    }
    let said = names.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
    Ok(Value::Object(said.map(|(name, cell)| ((*name).to_owned(), Value::from(cell))).collect::<Map<_, _>>()))
}

/// A call, and whether it says when by a time of day.
fn record(line: Line) -> Result<(Record, bool), String> {
    let code = line.code.as_ref().map(code).transpose()?.map(Said::Grpc);
    let http = line.http.as_ref().map(http).transpose()?.map(Said::Http);
    let outcome = line.outcome.as_deref().map(outcome).transpose()?.map(Said::Outcome);
    let mut said = [code, http, outcome].into_iter().flatten();
    let (Some(first), None) = (said.next(), said.next()) else {
        return Err("must have one of code, http and outcome".to_owned());
    };
    let time_of_day = line.at.as_str().and_then(of_day);
    let at = match time_of_day.map(|time| time.duration_since(UNIX_EPOCH)) {
        Some(Ok(at)) => at,
        _ => span("at", &line.at)?,
    };
    let record = Record {
        at,
        method: line.method,
        pool: Some(line.pool).filter(|pool| !pool.is_empty()),
        latency: line.latency.as_ref().map_or(Ok(Duration::ZERO), |latency| span("latency", latency))?,
        said: first,
        is_idempotent: flag("idempotent", line.idempotent.as_ref())?.unwrap_or(false),
        has_reached: flag("reached", line.reached.as_ref())?.unwrap_or(true),
    };
    Ok((record, time_of_day.is_some()))
}

/// Seconds as a number, or a time with a unit.
fn span(name: &str, value: &Value) -> Result<Duration, String> {
    let read = match value {
        Value::Number(number) => number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        Value::String(text) => {
            let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.or_else(|| humantime::parse_duration(text).ok())
        }
        _ => None,
    };
    let of_day = if name == "at" { ", or of day such as 2026-11-22T03:00:00Z" } else { "" };
    read.ok_or_else(|| format!("{name} must be seconds, or a time such as 20ms or 1.5s{of_day}, not {value}"))
}

fn code(value: &Value) -> Result<u32, String> {
    let named = |name: &str| CODES.iter().position(|code| code.eq_ignore_ascii_case(name));
    let found = match value {
        Value::Number(number) => number.as_u64().filter(|number| *number <= 16),
        Value::String(text) => {
            let number = text.parse().ok().filter(|number| *number <= 16);
            number.or_else(|| named(text).and_then(|at| u64::try_from(at).ok()))
        }
        _ => None,
    };
    let found = found.and_then(|code| u32::try_from(code).ok());
    found.ok_or_else(|| format!("code must be a gRPC status code, 0 to 16 or a name such as UNAVAILABLE, not {value}"))
}

/// The names of gRPC's status codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn http(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let status = number.and_then(|number| u32::try_from(number).ok()).filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| format!("http must be a status, 100 to 599, not {value}"))
}

fn outcome(text: &str) -> Result<Outcome, String> {
    match text {
        "success" => Ok(Outcome::Success),
        "failure" => Ok(Outcome::Failure),
        "neutral" => Ok(Outcome::Neutral),
        _ => Err(format!("outcome must be success, failure or neutral, not {text:?}")),
    }
}

fn flag(name: &str, value: Option<&Value>) -> Result<Option<bool>, String> {
    match value {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(other) => Err(format!("{name} must be true or false, not {other}")),
    }
}

#[cfg(test)]
mod tests;
