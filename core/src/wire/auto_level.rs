//! The level of a policy that leaves it to what it states.
//!
//! What is in force from which level on is said in one place, [`needed_levels`]: a policy at the level that is chosen here
//! has no field that [`inactive_fields`](super::inactive_fields) would name, and one level below it has.
//!
//! A section counts as stated where it is set, whatever it says; so a section that turns something off counts, too, and
//! goes with it where it is unset. What nobody has stated, built-in defaults among it, asks for nothing. The level is never
//! below the one that counts where no level is said: who wants less has to say so.

use super::effective::effective_policy;
use super::encode::to_wire_whole;
use super::inactive::needed_levels;
use crate::level::Level;
use crate::policy::Preset;
use cofferdam_proto::v1;

/// Of what asks for the level, so much is named.
const MAX_NAMED: usize = 4;

/// A level, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AutoLevel {
    /// The level.
    pub(super) level: Level,
    /// What asks for it, for people. Empty: nothing asks for more than where no level is said.
    pub(super) because: String,
}

/// The least level at which all is in force that a policy and its preset state, and no less than where no level is said.
pub(super) fn auto_level(written: &v1::IsolationPolicy, preset: Option<Preset>) -> AutoLevel {
    let unsaid = preset.map_or_else(Level::default, |preset| preset.spec().level);
    let of_preset = preset.map(whole).unwrap_or_default();
    let not_in_force = |level: Level| {
        let mut paths: Vec<_> = needed_levels(written, level).into_iter().map(|(path, _)| path).collect();
        if let Some(preset) = preset {
            let stated = needed_levels(&of_preset, level).into_iter().filter(|(path, _)| preset.states(path));
            paths.extend(stated.map(|(path, _)| format!("{path} of preset {preset}")));
        }
        paths
    };
    let is_enough = |level: &Level| *level >= unsaid && not_in_force(*level).is_empty();
    let level = Level::ALL.into_iter().find(is_enough).unwrap_or(Level::Full);
    let because = match Level::ALL.into_iter().rfind(|below| *below < level) {
        // What is not in force there, is here.
        Some(below) if level > unsaid => listed(not_in_force(below)),
        _ => preset.map(|preset| format!("preset {preset}")).unwrap_or_default(),
    };
    AutoLevel { level, because }
}

/// The policy that a preset is by itself. Each is a valid one.
fn whole(preset: Preset) -> v1::IsolationPolicy {
    let alone = v1::IsolationPolicy { preset: preset.name().to_owned(), ..Default::default() };
    effective_policy(&alone).map(|policy| to_wire_whole(&policy)).unwrap_or_default()
}

fn listed(mut paths: Vec<String>) -> String {
    let more = paths.len().saturating_sub(MAX_NAMED);
    paths.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    paths.join(", ") + &more
}

#[cfg(test)]
mod tests;
