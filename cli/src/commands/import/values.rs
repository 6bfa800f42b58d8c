use crate::message::{Fault, duration};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The least difference between two shares: one call of a million.
const LEAST: f64 = 0.000_001;

/// How alike two options have to be, of 1 for the same, for one to be a misspelt other one.
const ALIKE: f64 = 0.75;

/// What a configuration says of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Import {
    /// The service.
    pub(super) service: String,
    /// Its policy, in the contract's JSON.
    pub(super) policy: Value,
    /// What could not be said in a policy.
    pub(super) notes: Vec<String>,
}

/// Options by name, each taken once; what is left at the end has no counterpart.
#[derive(Debug)]
pub(super) struct Options {
    path: String,
    /// By their plain names, with the names that they are written with.
    values: BTreeMap<String, (String, Value)>,
    /// The options that there are, as far as somebody has asked for them.
    asked: BTreeSet<String>,
}

impl Options {
    /// The options of an object. Names are compared without hyphens and underscores, and without regard to case; two that
    /// are the same so are refused.
    pub(super) fn new(path: &str, value: Value) -> Result<Self, Fault> {
        match value {
            Value::Object(entries) => {
                let mut values = BTreeMap::new();
                for (name, value) in entries {
                    if let Some((known, _)) = values.insert(plain(&name), (name.clone(), value)) {
                        return Err(Fault::at(path, format!("{known} and {name} are one option: say it once")));
                    }
                }
                Ok(Self { path: path.to_owned(), values, asked: BTreeSet::new() })
            }
            Value::Null => Ok(Self { path: path.to_owned(), values: BTreeMap::new(), asked: BTreeSet::new() }),
            other => Err(Fault::at(path, format!("must be an object, and is {other}"))),
        }
    }

    /// Those of `base` that these do not have.
    pub(super) fn inherit(&mut self, base: &Self) {
        for (name, value) in &base.values {
            self.values.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// Takes an option. `None`: it is not said.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.asked.insert(name.to_owned());
        self.values.remove(&plain(name)).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Takes an option that is `false`, which some libraries say where others say nothing. Whether it was.
    pub(super) fn take_if_false(&mut self, name: &str) -> bool {
        let is_false = self.values.get(&plain(name)).is_some_and(|(_, value)| *value == false);
        if is_false {
            self.take(name);
        }
        is_false
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch("a text", name, &other)),
        }
    }

    /// Takes a number that is not negative.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
                let good = number.filter(|number| number.is_finite() && *number >= 0.0);
                good.map(Some).ok_or_else(|| self.mismatch("a number", name, &value))
            }
        }
    }

    /// Takes a whole number that is not negative.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Fault> {
        let number = self.number(name)?;
        let whole = number.map(|number| u32::try_from(number as u64).ok().filter(|whole| f64::from(*whole) == number));
        match whole {
            None => Ok(None),
            Some(Some(whole)) => Ok(Some(whole)),
            Some(None) => Err(self.fault(name, "must be a whole number below 2^32")),
        }
    }

    /// Takes names: a list of them, or a text with commas between them.
    pub(super) fn names(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let found = self.take(name);
        let text = |value: Value| match value {
            Value::String(text) => Ok(text.trim().to_owned()),
            other => Err(self.fault(name, format!("must be names, and has {other}"))),
        };
        match found {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.into_iter().map(text).collect(),
            Some(Value::String(list)) => {
                Ok(list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
            }
            Some(other) => Err(self.fault(name, format!("must be a list of names, and is {other}"))),
        }
    }

    /// Takes yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.mismatch("true or false", name, &other)),
        }
    }

    /// Takes a time: a text with its unit, or a number of `unit`.
    pub(super) fn time(&mut self, name: &str, unit: Duration) -> Result<Option<Duration>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        time(&value, unit).map(Some).ok_or_else(|| self.mismatch("a time", name, &value))
    }

    /// What is wrong with an option that is not what it has to be.
    fn mismatch(&self, what: &str, name: &str, value: &Value) -> Fault {
        let is_placeholder = value.as_str().is_some_and(|text| text.contains("${"));
        let hint = if is_placeholder { ": nothing fills in a placeholder here, so write its value" } else { "" };
        self.fault(name, format!("must be {what}, and is {value}{hint}"))
    }

    /// What is wrong with an option.
    pub(super) fn fault(&self, name: &str, what: impl Into<String>) -> Fault {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Fault::at(path, what)
    }

    /// Says what nobody has taken, and which option that may have been meant for.
    pub(super) fn leftovers(self, notes: &mut Vec<String>) {
        for (name, _) in self.values.values() {
            // By letters that differ: options that only begin alike are others.
            let likeness = |asked: &str| strsim::normalized_damerau_levenshtein(&plain(name), &plain(asked));
            let nearest = self.asked.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let hint = nearest
                .filter(|nearest| likeness(nearest) >= ALIKE)
                .map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
            notes.push(format!("{name} has no counterpart and is left out{hint}"));
        }
    }
}

fn plain(name: &str) -> String {
    name.replace(['-', '_'], "").to_ascii_lowercase()
}

/// A time: `"1m30s"`, `"PT1.5S"`, or a number of `unit`.
fn time(value: &Value, unit: Duration) -> Option<Duration> {
    match value {
        Value::Number(number) => {
            let seconds = number.as_f64().filter(|number| *number >= 0.0)? * unit.as_secs_f64();
            // Nanoseconds are counted: a number of them is exact to the last one.
            match number.as_u64().and_then(|count| u32::try_from(count).ok()) {
                Some(count) => unit.checked_mul(count),
                None => Duration::try_from_secs_f64(seconds).ok(),
            }
        }
        Value::String(text) => match text.strip_prefix("PT") {
            Some(rest) => iso_time(rest),
            None => humantime::parse_duration(text).ok().or_else(|| time(&Value::Number(text.parse().ok()?), unit)),
        },
        _ => None,
    }
}

/// The part of an ISO 8601 duration behind `PT`.
fn iso_time(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut digits = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' | '.' => digits.push(letter),
            'H' | 'M' | 'S' => {
                let unit = [('H', 3_600.0), ('M', 60.0), ('S', 1.0)].into_iter().find(|(name, _)| *name == letter)?.1;
                total = total.checked_add(Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * unit).ok()?)?;
                digits.clear();
            }
            _ => return None,
        }
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

/// A time as a policy has it.
pub(super) fn written(time: Duration) -> Value {
    Value::String(duration(time))
}

/// The least share of calls that is above another one; no share is above 1.
pub(super) fn above(share: f64) -> f64 {
    (((share + LEAST) * 1e6).round() / 1e6).min(1.0)
}

/// A name as a service's: `GET:/orders/{id}` is `get.orders.id`.
pub(super) fn service_name(resource: &str) -> String {
    let dotted: String = resource
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c) { c } else { '.' })
        .collect();
    let parts: Vec<_> = dotted.split('.').filter(|part| !part.is_empty()).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_come_in_many_forms() {
        let millis = Duration::from_millis(1);
        for (value, expected) in [
            (json!(1500), 1_500),
            (json!(0.5), 0),
            (json!("1m30s"), 90_000),
            (json!("PT1.5S"), 1_500),
            (json!("PT1H2M"), 3_720_000),
            (json!("250"), 250),
        ] {
            assert_eq!(time(&value, millis).map(|time| time.as_millis()), Some(expected), "{value}");
        }
        assert_eq!(time(&json!(1_000_000_000_u64), Duration::from_nanos(1)), Some(Duration::from_secs(1)));
        assert_eq!(time(&json!(60_000_000_000_u64), Duration::from_nanos(1)), Some(Duration::from_secs(60)));
        for value in [json!(-1), json!("soon"), json!("PT"), json!("PT5"), json!([])] {
            assert_eq!(time(&value, millis), None, "{value}");
        }
    }
}
