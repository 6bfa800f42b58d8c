//! What differs between two messages, field by field.

use super::fields::Field;
use std::collections::HashMap;
use std::fmt;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its path.
    pub(crate) path: String,
    /// Its value before. `None`: it was unset.
    pub(crate) before: Option<String>,
    /// Its value after. `None`: it is unset.
    pub(crate) after: Option<String>,
}

/// What leads from one to the other: what changes or goes in the order of before, then what comes.
pub(crate) fn changes(before: &[Field], after: &[Field]) -> Vec<Change> {
    let values = |fields: &[Field]| -> HashMap<String, String> {
        fields.iter().map(|field| (field.path.clone(), field.value.clone())).collect()
    };
    let (old, new) = (values(before), values(after));
    let gone = before.iter().filter(|field| new.get(&field.path) != Some(&field.value));
    let come = after.iter().filter(|field| !old.contains_key(&field.path));
    gone.chain(come)
        .map(|field| Change {
            path: field.path.clone(),
            before: old.get(&field.path).cloned(),
            after: new.get(&field.path).cloned(),
        })
        .collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.as_deref().unwrap_or("unset").to_owned();
        write!(f, "{}: {} -> {}", self.path, value(&self.before), value(&self.after))
    }
}
