//! Where the values of an effective policy come from.

use super::effective::merged;
use crate::glob;
use crate::policy::{InvalidPolicy, Policy, Preset};
use cofferdam_proto::v1;
use std::collections::BTreeMap;

/// A checked policy, and where each of its values comes from: noted by the merge that made it.
#[derive(Clone, Debug)]
pub struct TracedPolicy {
    policy: Policy,
    preset: Option<Preset>,
    service: Said,
    overrides: Vec<Said>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The preset that the policy names.
    Preset(Preset),
    /// The policy says so itself.
    Written,
    /// The override that the method goes by says so.
    Override,
    /// Nobody: the default, or the preset's value, moved out of the way of the field at this path, which was written.
    Follows(String),
    /// It is the level, which follows from what the policy states ([`LevelChoice::Auto`](crate::level::LevelChoice)): from
    /// this, for people. Empty: nothing that is stated asks for more than where no level is said.
    Auto(String),
}

/// What was noted at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The value was written, and so was all below it.
    Written,
    /// It moved out of the way of another one.
    Follows(String),
    /// It follows from what was written, for this reason.
    Auto(String),
    /// A list was written: what its elements leave unset has the built-in default.
    Listed,
    /// A section was written: what it leaves unset has the preset's value or the default.
    Section,
    /// Whatever was written here, the service's holds.
    TheServices,
}

/// What was noted, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(BTreeMap<String, Word>);

impl TracedPolicy {
    /// Merges a written policy as [`effective_policy`](super::effective_policy) does, and keeps account.
    ///
    /// # Errors
    ///
    /// As that one.
    pub fn new(written: &v1::IsolationPolicy) -> Result<Self, InvalidPolicy> {
        merged(written, true)
    }

    pub(super) fn of(policy: Policy, preset: Option<Preset>, service: Said, overrides: Vec<Said>) -> Self {
        Self { policy, preset, service, overrides }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The policy, alone.
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    /// The number of the override that a method goes by. `None`: the service's own policy counts.
    pub fn override_of(&self, method: &str) -> Option<usize> {
        self.policy.method_overrides.iter().position(|entry| glob::matches_method(&entry.glob, method))
    }

    /// Where the value comes from that has a path in the effective policy, as [`to_wire_whole`](super::to_wire_whole)
    /// shows it: of the service, or of the methods of an override, by its number.
    pub fn origin(&self, path: &str, method_override: Option<usize>) -> Origin {
        let own = method_override.and_then(|number| self.overrides.get(number));
        match own.and_then(|said| said.at(path)) {
            None | Some((Word::TheServices, _)) => self.in_service(path),
            Some((word, is_it)) => self.meaning(path, word, is_it, Origin::Override),
        }
    }

    fn in_service(&self, path: &str) -> Origin {
        self.service
            .at(path)
            .map_or_else(|| self.base(path), |(word, is_it)| self.meaning(path, word, is_it, Origin::Written))
    }

    fn meaning(&self, path: &str, word: &Word, is_it: bool, written: Origin) -> Origin {
        match word {
            Word::Written => written,
            Word::Follows(other) if is_it => Origin::Follows(other.clone()),
            Word::Auto(because) if is_it => Origin::Auto(because.clone()),
            Word::Listed => Origin::Default,
            Word::Follows(_) | Word::Auto(_) | Word::Section | Word::TheServices => self.base(path),
        }
    }

    fn base(&self, path: &str) -> Origin {
        match self.preset.filter(|preset| preset.sets(path)) {
            Some(preset) => Origin::Preset(preset),
            None => Origin::Default,
        }
    }
}

impl Said {
    pub(super) fn note(&mut self, path: &str, word: Word) {
        self.0.insert(path.to_owned(), word);
    }

    /// What was noted at a path, or nearest above it, and whether it is the path itself.
    fn at(&self, path: &str) -> Option<(&Word, bool)> {
        let mut above = path;
        loop {
            if let Some(word) = self.0.get(above) {
                return Some((word, above.len() == path.len()));
            }
            above = &above[..above.rfind(['.', '['])?];
        }
    }
}

#[cfg(test)]
mod tests;
