//! The check of overrides. What a method goes by is a policy as well: each override is checked as it is put together with
//! the service's sections, for a number that it replaces has to go with those that it inherits.

use super::super::limits::MAX_OVERRIDES;
use super::super::{MethodOverride, PolicySpec};
use super::{Faults, Violation, glob, sections};
use crate::glob::method_name;
use std::collections::HashSet;

pub(super) fn check(faults: &mut Faults, spec: &PolicySpec) {
    let overrides = &spec.method_overrides;
    faults.require(
        overrides.len() <= MAX_OVERRIDES,
        "method_overrides",
        format_args!("must be at most {MAX_OVERRIDES}"),
    );
    let mut globs = HashSet::new();
    for (index, entry) in overrides.iter().take(MAX_OVERRIDES).enumerate() {
        let path = format!("method_overrides[{index}]");
        glob(faults, &format!("{path}.glob"), &entry.glob);
        let once = globs.insert(method_name(&entry.glob));
        faults.require(once, format_args!("{path}.glob"), "must differ from the globs before it: the first one wins");
        check_sections(faults, &format!("{path}.policy"), spec, entry);
    }
}

fn check_sections(faults: &mut Faults, path: &str, spec: &PolicySpec, entry: &MethodOverride) {
    let pools = entry.bulkhead.as_ref().is_none_or(|bulkhead| bulkhead.pools.is_empty());
    let description =
        "must be empty: pools are the service's, and an override's bulkhead is one for all that it matches";
    faults.require(pools, format_args!("{path}.bulkhead.pools"), description);
    let budget = entry.retry.as_ref().is_none_or(|retry| retry.budget == spec.retry.budget);
    let description = "must be left out, or equal the service's: its methods share one budget";
    faults.require(budget, format_args!("{path}.retry.budget"), description);

    let mut whole = entry.applied_to(spec);
    whole.bulkhead.pools.clear();
    whole.retry.budget = spec.retry.budget;
    let mut found = Faults::default();
    sections(&mut found, &whole);
    for Violation { path: field, description, .. } in found.0 {
        if field.starts_with("retry.budget") {
            continue;
        }
        if replaces(entry, &field) {
            faults.require(false, format_args!("{path}.{field}"), description);
        } else if !faults.blames(&field) {
            let inherited = format!("{description}; it is the service's, so override that section too");
            faults.require(false, format_args!("{path}.{field}"), inherited);
        }
    }
}

/// Whether the section of a field is the override's own.
fn replaces(entry: &MethodOverride, field: &str) -> bool {
    match field.split('.').next() {
        Some("timeout") => entry.timeout.is_some(),
        Some("circuit_breaker") => entry.breaker.is_some(),
        Some("classification") => entry.classification.is_some(),
        Some("retry") => entry.retry.is_some(),
        Some("hedge") => entry.hedge.is_some(),
        Some("bulkhead") => entry.bulkhead.is_some(),
        Some("adaptive_limit") => entry.adaptive_limit.is_some(),
        Some("rate_limit") => entry.rate_limit.is_some(),
        Some("fallback") => entry.fallback.is_some(),
        _ => false,
    }
}
