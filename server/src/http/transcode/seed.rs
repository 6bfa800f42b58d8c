//! A body may hold a fallback configuration as isolation managers in Go have it: `strategy` and `fallback_data` in the place of
//! a chain, and times as whole nanoseconds, which is how Go writes them.

use std::collections::HashMap;

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, value::RawValue};

use super::{
    super::{
        problem::Violation,
        seed_fallback::{self, Data},
    },
    json::field,
    tree::{Tree, joined},
};

const FALLBACK: &str = "cofferdam.v1.FallbackConfig";
const STRATEGY: &str = "strategy";
const DATA: &str = "fallback_data";
const CHAIN: &str = "chain";

/// The same in the contract's words, of a message that is such a configuration or has one in it. `text` is what the tree was
/// read from.
pub(super) fn translated(
    kind: &MessageDescriptor,
    tree: Tree,
    text: &[u8],
    path: &str,
) -> Result<Tree, Vec<Violation>> {
    let Tree::Object(fields) = tree else { return Ok(tree) };
    if kind.full_name() == FALLBACK {
        return configuration(fields, text, path);
    }
    let inner = |(name, value): (String, Tree)| {
        let field = field(kind, &name);
        match field.as_ref().map(|field| (field.kind(), joined(path, field.name()))) {
            Some((Kind::Message(kind), path)) if kind.full_name() == FALLBACK => {
                let text = member(text, &name).map(RawValue::get).unwrap_or_default();
                Ok((name, translated(&kind, value, text.as_bytes(), &path)?))
            }
            _ => Ok((name, value)),
        }
    };
    Ok(Tree::Object(fields.into_iter().map(inner).collect::<Result<_, Vec<_>>>()?))
}

fn configuration(fields: Vec<(String, Tree)>, text: &[u8], path: &str) -> Result<Tree, Vec<Violation>> {
    let (mut strategy, mut data, mut others) = (None, None, Vec::new());
    for (name, value) in fields {
        let said = match name.as_str() {
            STRATEGY => &mut strategy,
            DATA => &mut data,
            "retry_delay" | "retryDelay" | "timeout" => {
                let field = if name == "timeout" { "timeout" } else { "retry_delay" };
                let Some(value) = time(value) else { return at_fault(path, field, NO_TIME) };
                others.push((name, value));
                continue;
            }
            _ => {
                others.push((name, value));
                continue;
            }
        };
        if said.replace(value).is_some() {
            return at_fault(path, &name, "is there twice");
        }
    }
    if let Some(name) = data.as_ref().and_then(Tree::twice) {
        return at_fault(path, &joined(DATA, &name), "is there twice");
    }
    let said = |tree: Option<Tree>| tree.map(|tree| tree.to_value()).filter(|value| !value.is_null());
    let data = match said(data) {
        None => None,
        Some(Value::Object(data)) => Some(data),
        Some(_) => return at_fault(path, DATA, "must be an object"),
    };
    let strategy = match said(strategy) {
        None if data.is_none() => return Ok(Tree::Object(others)),
        None => return at_fault(path, DATA, "is for a strategy, and there is none"),
        Some(Value::String(strategy)) => strategy,
        Some(_) => return at_fault(path, STRATEGY, "must be a text"),
    };
    if others.iter().any(|(name, _)| name == CHAIN) {
        return at_fault(path, STRATEGY, "is there together with chain");
    }
    let written = member(text, DATA).map(|data| compact(data.get())).unwrap_or_default();
    let data = data.as_ref().map(|fields| Data { fields, text: &written });
    let step = match seed_fallback::step(&strategy, data) {
        Ok(step) => step,
        Err(what) => return at_fault(path, STRATEGY, &what),
    };
    if let Some(name) = step.unused.first() {
        return at_fault(path, &format!("{DATA}.{name}"), &format!("means nothing to the strategy {strategy}"));
    }
    others.push((CHAIN.to_owned(), Tree::List(vec![step.step.into()])));
    Ok(Tree::Object(others))
}

fn at_fault(path: &str, name: &str, what: &str) -> Result<Tree, Vec<Violation>> {
    Err(vec![Violation::new(joined(path, name), what)])
}

/// A field of an object as it was written: numbers keep their digits and fields their order, which is what callers get that
/// a static answer is for.
fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a RawValue> {
    serde_json::from_slice::<HashMap<String, &RawValue>>(object).ok()?.remove(name)
}

/// JSON without what stands between its words.
fn compact(json: &str) -> String {
    let (mut in_text, mut is_escaped) = (false, false);
    let is_said = |letter: &char| {
        if !in_text {
            in_text = *letter == '"';
            return !letter.is_ascii_whitespace();
        }
        in_text = is_escaped || *letter != '"';
        is_escaped = !is_escaped && *letter == '\\';
        true
    };
    json.chars().filter(is_said).collect()
}

/// What is said of a number that is no time.
const NO_TIME: &str = "must be a duration, as in \"1.5s\", or whole nanoseconds, 0 to 18446744073709551615";

/// A whole number is nanoseconds; what is no number stays as it is. `None`: the number is no time.
fn time(value: Tree) -> Option<Tree> {
    const NANOSECONDS: u64 = 1_000_000_000;
    let Tree::Leaf(Value::Number(number)) = &value else { return Some(value) };
    let count = number.as_u64().or_else(|| whole(number.as_f64()?))?;
    Some(Tree::Leaf(Value::String(format!("{}.{:09}s", count / NANOSECONDS, count % NANOSECONDS))))
}

/// A number that was written with a point or an exponent, where it is a whole one.
fn whole(number: f64) -> Option<u64> {
    if number.fract() == 0.0 { format!("{number:.0}").parse().ok() } else { None }
}
