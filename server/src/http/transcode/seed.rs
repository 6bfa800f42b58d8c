//! A body may hold a fallback configuration as isolation managers in Go have it: `strategy` and `fallback_data` in the place of
//! a chain, and times as whole nanoseconds, which is how Go writes them.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;

use super::{
    super::{problem::Violation, seed_fallback},
    json::{below, field},
    tree::Tree,
};

const FALLBACK: &str = "cofferdam.v1.FallbackConfig";
const STRATEGY: &str = "strategy";
const DATA: &str = "fallback_data";
const CHAIN: &str = "chain";

/// The same in the contract's words, of a message that is such a configuration or has one in it.
pub(super) fn translated(kind: &MessageDescriptor, tree: Tree, path: &str) -> Result<Tree, Vec<Violation>> {
    let Tree::Object(fields) = tree else { return Ok(tree) };
    if kind.full_name() == FALLBACK {
        return configuration(fields, path);
    }
    let inner = |(name, value): (String, Tree)| {
        let field = field(kind, &name);
        match field.as_ref().map(|field| (field.kind(), below(path, field.name()))) {
            Some((Kind::Message(kind), path)) if kind.full_name() == FALLBACK => {
                Ok((name, translated(&kind, value, &path)?))
            }
            _ => Ok((name, value)),
        }
    };
    Ok(Tree::Object(fields.into_iter().map(inner).collect::<Result<_, Vec<_>>>()?))
}

fn configuration(fields: Vec<(String, Tree)>, path: &str) -> Result<Tree, Vec<Violation>> {
    let (mut strategy, mut data, mut others) = (None, None, Vec::new());
    for (name, value) in fields {
        let said = match name.as_str() {
            STRATEGY => &mut strategy,
            DATA => &mut data,
            "retry_delay" | "retryDelay" | "timeout" => {
                others.push((name, time(value)));
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
    let step = match seed_fallback::step(&strategy, data.as_ref()) {
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
    Err(vec![Violation::new(below(path, name), what)])
}

/// A whole number is nanoseconds; whatever else stays as it is.
fn time(value: Tree) -> Tree {
    const NANOSECONDS: u64 = 1_000_000_000;
    match &value {
        Tree::Leaf(Value::Number(number)) => match number.as_u64() {
            Some(count) => Tree::Leaf(Value::String(format!("{}.{:09}s", count / NANOSECONDS, count % NANOSECONDS))),
            None => value,
        },
        _ => value,
    }
}
