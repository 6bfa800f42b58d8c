//! Where each value of an effective policy comes from.

use crate::message::{Fault, Field, dynamic, fields};
use cofferdam_core::wire::{effective_policy, to_wire};
use cofferdam_proto::v1;
use std::collections::{HashMap, HashSet};

/// A field of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The field.
    pub(super) field: Field,
    /// Who says so: written, a preset, or the default.
    pub(super) origin: String,
    /// Whether it is in force at the present level.
    pub(super) is_active: bool,
}

/// Every field of a policy in force with its origin. What a preset brings is told from the defaults by this release's
/// presets.
pub(super) fn origins(
    effective: &v1::IsolationPolicy,
    written: &v1::IsolationPolicy,
    inactive: &[String],
) -> Result<Vec<Known>, Fault> {
    let asked: HashSet<String> = fields(&dynamic(written)?).into_iter().map(|field| field.path).collect();
    let mut defaults = HashMap::new();
    if let Ok(policy) = effective_policy(&v1::IsolationPolicy::default()) {
        let list = fields(&dynamic(&to_wire(&policy))?);
        defaults.extend(list.into_iter().map(|field| (field.path, field.value)));
    }
    let known = |field: Field| {
        let origin = if asked.contains(&field.path) {
            "written".to_owned()
        } else if !written.preset.is_empty() && defaults.get(&field.path) != Some(&field.value) {
            format!("preset {}", written.preset)
        } else {
            "default".to_owned()
        };
        Known { origin, is_active: !inactive.iter().any(|path| is_below(&field.path, path)), field }
    };
    Ok(fields(&dynamic(effective)?).into_iter().map(known).collect())
}

/// Whether a path is another one, or of a field in it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::read;
    use serde_json::json;

    #[test]
    fn each_value_has_an_origin_and_may_be_out_of_force() {
        let written: v1::IsolationPolicy =
            read(json!({"level": "basic", "preset": "flask-module", "retry": {"maxAttempts": 4}})).unwrap();
        let effective = to_wire(&effective_policy(&written).unwrap());
        let known = origins(&effective, &written, &["retry".to_owned(), "circuit_breaker".to_owned()]).unwrap();
        let of = |path: &str| {
            let known = known.iter().find(|known| known.field.path == path).unwrap();
            (known.field.value.as_str(), known.origin.as_str(), known.is_active)
        };
        assert_eq!(of("level"), ("basic", "written", true));
        assert_eq!(of("retry.max_attempts"), ("4", "written", false));
        assert_eq!(of("circuit_breaker.open_duration"), ("1m", "preset flask-module", false));
        assert_eq!(of("timeout.call_timeout").1, "default");
        assert!(is_below("retry.budget.ratio", "retry") && !is_below("retry_more", "retry"));
    }
}
