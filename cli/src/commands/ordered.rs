//! What operators have ordered, in words: holds, and levels for a time.

use super::history::field;
use super::session::shell_quoted;
use crate::message::short_name;
use crate::output::{age, std_duration};
use cofferdam_proto::v1;
use std::collections::BTreeMap;

/// ` of pool reads at pay-1`. Empty: all breakers of the service.
pub(super) fn aim(target: Option<&v1::BreakerTarget>) -> String {
    let target = target.cloned().unwrap_or_default();
    let of = match (target.pool.as_str(), target.method_glob.as_str()) {
        ("", "") => String::new(),
        ("", glob) => format!(" of methods {glob}"),
        (pool, _) => format!(" of pool {pool}"),
    };
    let at = if target.instance_id.is_empty() { String::new() } else { format!(" at {}", target.instance_id) };
    of + &at
}

/// The command that ends a hold.
pub(super) fn release(name: &str, hold: &v1::Hold) -> String {
    let target = hold.target.clone().unwrap_or_default();
    let flags = [("--pool", &target.pool), ("--method", &target.method_glob), ("--instance", &target.instance_id)];
    let said = flags
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(flag, value)| format!(" {flag} {}", shell_quoted(value)));
    format!("cofferdam release {name}{} --reason TEXT", said.collect::<String>())
}

/// `breakers of pool reads held open by ann for 4m12s more: the database is being moved`.
pub(super) fn hold(hold: &v1::Hold) -> String {
    let until = match std_duration(hold.ends_in) {
        Some(left) => format!("for {} more", age(Some(left))),
        None => "until released".to_owned(),
    };
    let long = if hold.held_too_long { ", for more than 1h by now" } else { "" };
    let forced = short_name(hold.forced().as_str_name(), "FORCED_STATE_");
    format!("breakers{} held {forced} by {} {until}{long}: {}", aim(hold.target.as_ref()), hold.owner, hold.reason)
}

/// Whether a hold is of all breakers of a service, at all instances.
pub(super) fn is_whole(hold: &v1::Hold) -> bool {
    aim(hold.target.as_ref()).is_empty()
}

/// Whether a hold rejects calls.
pub(super) fn rejects(hold: &v1::Hold) -> bool {
    hold.forced() == v1::ForcedState::Open
}

/// The hold that matters most: one that rejects calls, of those one over all breakers. `None`: there is none.
pub(super) fn weightiest(holds: &[v1::Hold]) -> Option<&v1::Hold> {
    // Of those that are alike, the first.
    holds.iter().rev().max_by_key(|hold| (rejects(hold), is_whole(hold)))
}

/// `held open`, or `partly held open` where it is not over all breakers.
pub(super) fn held(hold: &v1::Hold) -> String {
    let partly = if is_whole(hold) { "" } else { "partly " };
    format!("{partly}held {}", short_name(hold.forced().as_str_name(), "FORCED_STATE_"))
}

/// `none for 9m58s more, then basic (ann: trial)`. `None`: the level in force is the written one.
pub(super) fn temporary_level(isolated: &v1::IsolatedService) -> Option<String> {
    let temporary = isolated.temporary_level.as_ref()?;
    let level = short_name(temporary.level().as_str_name(), "ISOLATION_LEVEL_");
    let reason = if temporary.reason.is_empty() { String::new() } else { format!(": {}", temporary.reason) };
    let left = age(std_duration(temporary.ends_in));
    Some(format!("{level} for {left} more, then {} ({}{reason})", written_level(isolated), temporary.actor))
}

/// What a new level means, where it is one for a time, or ends one: `none until 2026-11-22T03:00:00Z, then basic`. Empty:
/// neither.
pub(super) fn level_set(before: Option<&v1::IsolatedService>, after: &v1::IsolatedService) -> String {
    match (&after.temporary_level, before.and_then(|before| before.temporary_level.as_ref())) {
        (Some(temporary), _) => {
            let level = short_name(temporary.level().as_str_name(), "ISOLATION_LEVEL_");
            let until = temporary.expire_time.map(|time| second(&time.to_string())).unwrap_or_default();
            format!("{level} until {until}, then {}", written_level(after))
        }
        (None, Some(_)) => format!("the level for a time ended, {} is in force", written_level(after)),
        (None, None) => String::new(),
    }
}

/// The level that the written policy says, or that follows from it: `full`, or `full (auto)` where it is left to the policy.
pub(super) fn written_level(isolated: &v1::IsolatedService) -> String {
    let written = isolated.written_policy.clone().unwrap_or_default();
    let is_said = written.level != 0 && !is_auto(isolated);
    if is_said {
        return short_name(written.level().as_str_name(), "ISOLATION_LEVEL_");
    }
    let effective = cofferdam_core::wire::effective_policy(&written);
    let level = effective.map_or_else(|_| "the written one".to_owned(), |policy| policy.level.to_string());
    if is_auto(isolated) { level + AUTO } else { level }
}

/// Whether the level of the written policy follows from what that states.
pub(super) fn is_auto(isolated: &v1::IsolatedService) -> bool {
    isolated.written_policy.as_ref().is_some_and(|written| written.level() == v1::IsolationLevel::Auto)
}

/// What is said behind a level that follows from what the policy states.
pub(super) const AUTO: &str = " (auto)";

/// What a change did to orders, for people: one text for each hold and for the level. The other fields that changed come
/// back as they are.
pub(super) fn told(changes: &[v1::FieldChange]) -> (Vec<String>, Vec<&v1::FieldChange>) {
    let mut groups: BTreeMap<&str, Vec<(&str, &v1::FieldChange)>> = BTreeMap::new();
    let mut others = Vec::new();
    for change in changes {
        match change.path.strip_prefix("orders.").and_then(|path| path.split_once('.')) {
            Some((group, name)) => groups.entry(group).or_default().push((name, change)),
            // An empty message among them: the target that is all breakers.
            None if change.path.starts_with("orders.") => {}
            None => others.push(change),
        }
    }
    // Holds are stored in a list: where one goes, those behind it move up, and say nothing new.
    let is_moved = |fields: &[(&str, &v1::FieldChange)]| {
        let target = ["target.pool", "target.method_glob", "target.instance_id"];
        fields.iter().any(|(name, change)| target.contains(name) && change.after.is_some() != change.before.is_some())
            && fields
                .iter()
                .any(|(name, change)| *name == "hold_time" && change.before.is_some() && change.after.is_some())
    };
    let texts =
        groups.iter().filter(|(_, fields)| !is_moved(fields)).filter_map(|(group, fields)| group_text(group, fields));
    (texts.collect(), others)
}

fn group_text(group: &str, fields: &[(&str, &v1::FieldChange)]) -> Option<String> {
    let after = |name: &str| {
        let (_, change) = fields.iter().find(|(field, _)| *field == name)?;
        change.after.clone()
    };
    let until = |forever: &str| {
        after("expire_time").map_or_else(|| forever.to_owned(), |time| format!("until {}", second(&time)))
    };
    match group {
        "temporary_level" => Some(match after("level") {
            Some(level) => format!("{} {}", short_name(&level, "ISOLATION_LEVEL_"), until("for a time")),
            None if after("expire_time").is_some() => format!("the same level {}", until("")),
            None => "the level for a time ended".to_owned(),
        }),
        _ if group.starts_with("holds") => {
            let target = v1::BreakerTarget {
                pool: after("target.pool").unwrap_or_default(),
                method_glob: after("target.method_glob").unwrap_or_default(),
                instance_id: after("target.instance_id").unwrap_or_default(),
            };
            match (after("forced"), after("expire_time")) {
                (Some(forced), _) => {
                    let forced = short_name(&forced, "FORCED_STATE_");
                    let owner = after("owner").map_or_else(String::new, |owner| format!(" by {owner}"));
                    Some(format!("{forced}{}{owner} {}", aim(Some(&target)), until("until released")))
                }
                (None, Some(_)) => Some(format!("now {}", until(""))),
                (None, None) => None,
            }
        }
        // Of a command, the kind of the change says what it was.
        _ => fields.iter().find(|(name, _)| name.starts_with("target.")).map(|(_, change)| field(change)),
    }
}

/// A time to the second.
fn second(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(list: &[(&str, Option<&str>, Option<&str>)]) -> Vec<v1::FieldChange> {
        let change = |&(path, before, after): &(&str, Option<&str>, Option<&str>)| v1::FieldChange {
            path: path.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            ..Default::default()
        };
        list.iter().map(change).collect()
    }

    fn texts(list: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let changes = changes(list);
        let (mut texts, others) = told(&changes);
        texts.extend(others.into_iter().map(field));
        texts
    }

    #[test]
    fn what_is_ordered_is_told_as_a_person_would() {
        let held = [
            ("orders.holds[0].expire_time", None, Some("2026-11-22T05:27:28.707575429Z")),
            ("orders.holds[0].forced", None, Some("FORCED_STATE_OPEN")),
            ("orders.holds[0].hold_time", None, Some("2026-11-22T05:22:28.707575429Z")),
            ("orders.holds[0].owner", None, Some("ann")),
            ("orders.holds[0].reason", None, Some("db moved")),
            ("orders.holds[0].target", None, Some("{}")),
        ];
        assert_eq!(texts(&held), ["open by ann until 2026-11-22T05:27:28Z"]);
        let one = [
            ("orders.holds[1].forced", None, Some("FORCED_STATE_CLOSED")),
            ("orders.holds[1].target.instance_id", None, Some("i-1")),
        ];
        assert_eq!(texts(&one), ["closed at i-1 until released"]);
        let renewed = [("orders.holds[0].expire_time", Some("x"), Some("2026-11-22T05:37:29Z"))];
        assert_eq!(texts(&renewed), ["now until 2026-11-22T05:37:29Z"]);
        let level = [
            ("orders.temporary_level.expire_time", None, Some("2026-11-22T05:32:28.9Z")),
            ("orders.temporary_level.level", None, Some("ISOLATION_LEVEL_FULL")),
        ];
        assert_eq!(texts(&level), ["full until 2026-11-22T05:32:28Z"]);
        let ended = [
            ("level", Some("ISOLATION_LEVEL_ENHANCED"), Some("ISOLATION_LEVEL_BASIC")),
            ("orders.temporary_level.level", Some("ISOLATION_LEVEL_FULL"), None),
        ];
        assert_eq!(texts(&ended), ["the level for a time ended", "level enhanced -> basic"]);
    }

    #[test]
    fn a_level_for_a_time_says_until_when_and_what_comes_after() {
        let temporary = v1::TemporaryLevel {
            level: v1::IsolationLevel::None.into(),
            expire_time: Some(prost_types::Timestamp { seconds: 1_795_316_400, nanos: 5 }),
            actor: "ann".into(),
            reason: "trial".into(),
            ends_in: Some(prost_types::Duration { seconds: 598, nanos: 0 }),
        };
        let before = v1::IsolatedService::default();
        let after = v1::IsolatedService { temporary_level: Some(temporary), ..before.clone() };
        assert_eq!(level_set(Some(&before), &after), "none until 2026-11-22T03:00:00Z, then basic");
        assert_eq!(temporary_level(&after).unwrap(), "none for 9m58s more, then basic (ann: trial)");
        assert_eq!(level_set(Some(&after), &before), "the level for a time ended, basic is in force");
        assert_eq!((level_set(None, &before), temporary_level(&before)), (String::new(), None));
    }

    #[test]
    fn a_release_is_told_by_its_kind_alone_whatever_moves_up() {
        let released = [
            ("orders.holds[0].forced", Some("FORCED_STATE_OPEN"), Some("FORCED_STATE_CLOSED")),
            ("orders.holds[0].hold_time", Some("a"), Some("b")),
            ("orders.holds[0].target.instance_id", None, Some("i-1")),
            ("orders.holds[1].forced", Some("FORCED_STATE_CLOSED"), None),
            ("orders.holds[1].target.instance_id", Some("i-1"), None),
        ];
        assert_eq!(texts(&released), Vec::<String>::new());
    }

    #[test]
    fn a_hold_says_who_why_how_long_and_what_ends_it() {
        let mut held = v1::Hold {
            target: Some(v1::BreakerTarget { pool: "reads".into(), instance_id: "pay-1".into(), ..Default::default() }),
            forced: v1::ForcedState::MetricsOnly.into(),
            owner: "ann".into(),
            reason: "trial".into(),
            ends_in: Some(prost_types::Duration { seconds: 252, nanos: 0 }),
            ..Default::default()
        };
        assert_eq!(hold(&held), "breakers of pool reads at pay-1 held metrics-only by ann for 4m12s more: trial");
        assert_eq!(release("pay", &held), "cofferdam release pay --pool reads --instance pay-1 --reason TEXT");
        // Before, a shell put the names of files in its place.
        held.target = Some(v1::BreakerTarget { method_glob: "a/*".into(), ..Default::default() });
        assert_eq!(release("pay", &held), "cofferdam release pay --method 'a/*' --reason TEXT");
        (held.target, held.ends_in, held.held_too_long) = (None, None, true);
        assert_eq!(hold(&held), "breakers held metrics-only by ann until released, for more than 1h by now: trial");
        assert_eq!(release("pay", &held), "cofferdam release pay --reason TEXT");
    }
}
