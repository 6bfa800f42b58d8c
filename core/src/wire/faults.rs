//! The faults that only the wire can have, and how they join those of the checked whole.

use super::duration::duration_from_wire;
use crate::policy::limits::MAX_DURATION;
use crate::policy::{InvalidPolicy, Policy, PolicySpec, Violation};
use std::fmt::Display;
use std::time::Duration;

/// What a field holds whose message cannot be read. It is out of every range, so the check of the whole compares
/// nothing else with it.
const UNREADABLE: Duration = Duration::MAX;

/// The sections of `IsolationPolicy`, in the order of the contract.
const SECTIONS: [&str; 14] = [
    "level",
    "preset",
    "timeout",
    "circuit_breaker",
    "classification",
    "retry",
    "hedge",
    "bulkhead",
    "adaptive_limit",
    "rate_limit",
    "fallback",
    "health",
    "method_overrides",
    "fleet_hint",
];

/// Faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Violation>);

impl Faults {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn invalid(&mut self, path: impl Into<String>, description: impl Display) {
        self.0.push(Violation::invalid(path, description.to_string()));
    }

    /// Adds faults found below a path.
    pub(super) fn append(&mut self, path: &str, below: Self) {
        let below = below.0.into_iter();
        self.0.extend(below.map(|fault| Violation { path: format!("{path}.{}", fault.path), ..fault }));
    }

    /// The duration that was written, if any.
    pub(super) fn read_duration(&mut self, path: &str, written: Option<prost_types::Duration>) -> Option<Duration> {
        let duration = duration_from_wire(written?);
        Some(duration.unwrap_or_else(|fault| {
            self.invalid(path, fault);
            UNREADABLE
        }))
    }

    /// A duration of the contract that this release reads, but does not act on.
    pub(super) fn inert_duration(&mut self, path: &str, written: Option<prost_types::Duration>) {
        let before = self.len();
        let duration = self.read_duration(path, written).unwrap_or_default();
        if self.len() == before && duration > MAX_DURATION {
            self.invalid(path, format_args!("must be in [0s, 24h], not {duration:?}"));
        }
    }

    /// A share of the contract that this release reads, but does not act on.
    pub(super) fn inert_ratio(&mut self, path: &str, written: Option<f64>) {
        if let Some(ratio) = written.filter(|ratio| !(0.0..=1.0).contains(ratio)) {
            self.invalid(path, format_args!("must be in [0, 1], not {ratio}"));
        }
    }

    /// The name that a number stands for, unless the contract has no such number.
    pub(super) fn enumeration<T: TryFrom<i32>>(&mut self, path: &str, number: i32) -> Option<T> {
        let value = T::try_from(number).ok();
        if value.is_none() {
            self.invalid(path, format_args!("must be a number that the contract names, not {number}"));
        }
        value
    }

    /// Checks the whole, and adds its faults to those found so far.
    pub(super) fn check(self, spec: PolicySpec) -> Result<Policy, InvalidPolicy> {
        let checked = Policy::new(spec);
        let mut violations = self.0;
        if let Err(invalid) = &checked {
            for violation in invalid.violations() {
                if violations.iter().all(|known| known.path != violation.path) {
                    violations.push(violation.clone());
                }
            }
        }
        violations.sort_by_key(|violation| rank(&violation.path));
        InvalidPolicy::from_violations(violations).map_or(checked, Err)
    }

    /// The faults found, if any.
    pub(super) fn finish(self) -> Result<(), InvalidPolicy> {
        InvalidPolicy::from_violations(self.0).map_or(Ok(()), Err)
    }
}

fn rank(path: &str) -> usize {
    let section = path.split(['.', '[']).next().unwrap_or_default();
    SECTIONS.iter().position(|name| *name == section).unwrap_or(SECTIONS.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_proto::FILE_DESCRIPTOR_SET;
    use prost_reflect::DescriptorPool;

    #[test]
    fn sections_are_those_of_the_contract() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let message = pool.get_message_by_name("cofferdam.v1.IsolationPolicy").unwrap();
        let names: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
        assert_eq!(names, SECTIONS);
    }
}
