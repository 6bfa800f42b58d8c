//! What differs between two states of a service, field by field.
//!
//! Both are compared as what they are to people, proto3 JSON, so that a duration is one value and an enum has its name.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_core::wire::{effective_policy, to_wire_whole};
use cofferdam_proto::{storage::v1 as storage, v1};
use serde_json::{Map, Value};

use crate::registry::values::{fields, json, text};

/// How many differences are told.
const MAX_CHANGES: usize = 64;

/// The field that may be left to the policy, and the value that leaves it there.
const LEVEL: &str = "level";
const AUTO: &str = "ISOLATION_LEVEL_AUTO";

/// What differs, and how many fields more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::registry) struct Difference {
    pub(in crate::registry) changes: Vec<v1::FieldChange>,
    pub(in crate::registry) more: u32,
}

impl Difference {
    /// From one state to another. `None`: not registered.
    pub(in crate::registry) fn between(
        before: Option<&storage::ServiceRecord>,
        after: Option<&storage::ServiceRecord>,
    ) -> Self {
        let mut found = Self::default();
        let is_there = |state: Option<_>| Value::Bool(state.is_some());
        found.walk("registered", Some(&is_there(before)), Some(&is_there(after)));
        let policy = |state: &storage::ServiceRecord| json("cofferdam.v1.IsolationPolicy", state.policy.as_ref()?);
        let (policy_before, policy_after) = (before.and_then(policy), after.and_then(policy));
        found.walk("", policy_before.as_ref(), policy_after.as_ref());
        found.tell_level(before, after);
        found.tell_defaults(before, after);
        let service = |state: &storage::ServiceRecord| {
            // Its own name says nothing.
            let named = v1::Service { namespace: String::new(), name: String::new(), ..state.service.clone()? };
            json("cofferdam.v1.Service", &named)
        };
        let (service_before, service_after) = (before.and_then(service), after.and_then(service));
        found.walk("service", service_before.as_ref(), service_after.as_ref());
        let orders = |state: &storage::ServiceRecord| json("cofferdam.v1.Orders", state.orders.as_ref()?);
        let (orders_before, orders_after) = (before.and_then(orders), after.and_then(orders));
        found.walk("orders", orders_before.as_ref(), orders_after.as_ref());
        let insisted = |state: Option<&storage::ServiceRecord>| Value::Bool(state.is_some_and(|state| state.insisted));
        found.walk("insisted", Some(&insisted(before)), Some(&insisted(after)));
        found
    }

    /// Says that a level has changed that is left to the policy.
    fn tell_level(&mut self, before: Option<&storage::ServiceRecord>, after: Option<&storage::ServiceRecord>) {
        let followed = |state: Option<&storage::ServiceRecord>| {
            let policy = state?.policy.as_ref().filter(|policy| policy.level() == v1::IsolationLevel::Auto)?;
            effective_policy(policy).ok().map(|policy| policy.level)
        };
        let (before, after) = (followed(before), followed(after));
        if before.is_some() && after.is_some() && before != after {
            let auto = Value::from(AUTO);
            self.push(LEVEL, Some(&auto), Some(&auto));
        }
    }

    /// Says what is in force in the place of what is not set, or left to the policy, of the fields of the policy so far.
    fn tell_defaults(&mut self, before: Option<&storage::ServiceRecord>, after: Option<&storage::ServiceRecord>) {
        let is_open = |path: &str, value: &Option<String>| match value.as_deref() {
            None => true,
            Some(value) => path == LEVEL && value == AUTO,
        };
        let needs_before = self.changes.iter().any(|change| is_open(&change.path, &change.before));
        let needs_after = self.changes.iter().any(|change| is_open(&change.path, &change.after));
        let before = before.filter(|_| needs_before).map(in_force).unwrap_or_default();
        let after = after.filter(|_| needs_after).map(in_force).unwrap_or_default();
        for change in &mut self.changes {
            let v1::FieldChange { path, before: was, after: is, before_default, after_default } = change;
            *before_default = before.get(path).filter(|_| is_open(path, was)).cloned();
            *after_default = after.get(path).filter(|_| is_open(path, is)).cloned();
        }
    }

    fn walk(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        let nothing = Map::new();
        let fields = |value: Option<&'_ Value>| value.is_none_or(Value::is_object);
        let items = |value: Option<&'_ Value>| value.is_none_or(Value::is_array);
        if fields(before) && fields(after) {
            let before_fields = before.and_then(Value::as_object).unwrap_or(&nothing);
            let after_fields = after.and_then(Value::as_object).unwrap_or(&nothing);
            let names: BTreeSet<_> = before_fields.keys().chain(after_fields.keys()).collect();
            if names.is_empty() && !path.is_empty() && path != "service" && path != "orders" {
                self.push(path, before, after);
            }
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.walk(&path, before_fields.get(name), after_fields.get(name));
            }
        } else if items(before) && items(after) {
            let (before, after) = (before.and_then(Value::as_array), after.and_then(Value::as_array));
            let count = |items: Option<&Vec<Value>>| items.map_or(0, Vec::len);
            for index in 0..count(before).max(count(after)) {
                let item = |items: Option<&'_ Vec<Value>>| items.and_then(|items| items.get(index)).cloned();
                self.walk(&format!("{path}[{index}]"), item(before).as_ref(), item(after).as_ref());
            }
        } else {
            self.push(path, before, after);
        }
    }

    fn push(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        if self.changes.len() == MAX_CHANGES {
            self.more = self.more.saturating_add(1);
            return;
        }
        let (before, after) = (before.map(text), after.map(text));
        self.changes.push(v1::FieldChange { path: path.to_owned(), before, after, ..Default::default() });
    }
}

/// What is in force by the policy of a state, by path. Empty: this release cannot tell.
fn in_force(state: &storage::ServiceRecord) -> BTreeMap<String, String> {
    let written = state.policy.clone().unwrap_or_default();
    let effective = effective_policy(&written).map(|policy| to_wire_whole(&policy));
    let fields = effective.map(|policy| fields("cofferdam.v1.IsolationPolicy", &policy)).unwrap_or_default();
    fields.into_iter().collect()
}

#[cfg(test)]
mod tests;
