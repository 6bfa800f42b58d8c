//! What all writes have in common: the flags, the difference that `--dry-run` shows, and the line that tells what came.

use super::Error;
use super::convergence::{self, Enough, Subject, applied, counts, is_unused, look, say_missing};
use super::moment::{certain, full, number, revision, written};
use super::ordered::{is_auto, written_level};
use super::session::{Common, ServiceName, Session};
use crate::client::CallError;
use crate::message::{Change, Fault, changes, dynamic, fields};
use crate::output::{Format, PrintError, length, say};
use clap::Args;
use cofferdam_core::level::LevelChoice;
use cofferdam_core::policy::InvalidPolicy;
use cofferdam_core::wire::{effective_policy, inactive_fields, level_from_wire, to_wire};
use cofferdam_proto::v1;
use cofferdam_server::registry::check_reason;

/// Flags of every command that changes a policy.
#[derive(Args, Clone, Debug)]
pub(crate) struct WriteArgs {
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "wait")]
    pub(super) dry_run: bool,
    /// Wait until instances have it in force
    #[arg(long)]
    pub(super) wait: bool,
    /// How many instances are enough: a number, or a share such as 80% [default: all]
    #[arg(long, value_name = "N", requires = "wait")]
    pub(super) quorum: Option<Enough>,
    /// Fail unless the service is at this revision, such as 19, or with its epoch 7.19
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    expected_revision: Option<v1::Revision>,
    /// Why, for people; it stands in the service's history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) common: Common,
}

impl WriteArgs {
    /// The condition, as a request has it.
    pub(super) const fn expected(&self) -> Option<v1::Revision> {
        self.expected_revision
    }

    /// Refuses a condition that would hold at several states of the service.
    pub(super) async fn certain(&self, service: &ServiceName, session: &Session<'_>) -> Result<(), Error> {
        match self.expected_revision {
            Some(expected) => certain(expected, service, session).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Refuses what a manager would refuse: a reason that is none, and a service that is not at the revision that is
    /// expected.
    pub(super) fn check(&self, name: &str, before: Option<&v1::IsolatedService>) -> Result<(), Error> {
        check_reason(&self.reason)
            .map_err(|error| Error::failed(format!("{name}: {error}"), "a shorter --reason, in one line"))?;
        let at = before.and_then(|before| before.revision).unwrap_or_default();
        match self.expected_revision {
            Some(expected)
                if expected.revision != at.revision || (expected.epoch != 0 && expected.epoch != at.epoch) =>
            {
                let number = if expected.epoch == 0 { number } else { full };
                let is = before.map_or_else(
                    || "is not registered".to_owned(),
                    |_| format!("is at revision {}", number(Some(&at))),
                );
                let what = format!("{name} {is}, and {} is expected: it would be refused", number(Some(&expected)));
                Err(Error::failed(what, format!("cofferdam history {name}")))
            }
            _ => Ok(()),
        }
    }

    /// Waits for instances, where that was asked for: what there is to say of it, where they have it in force and where
    /// they have not.
    pub(super) async fn await_instances(
        &self,
        place: (String, String),
        revision: Option<v1::Revision>,
        subject: Subject,
        session: &Session<'_>,
    ) -> Result<Option<Result<String, String>>, Error> {
        if self.wait { wait_for(place, revision, subject, self.quorum, session).await.map(Some) } else { Ok(None) }
    }
}

/// A name for a request, so that it can be made twice and done once.
pub(super) fn request_id() -> String {
    format!("cli-{:032x}", rand::random::<u128>())
}

/// The service as it is. `None`: it is not registered.
pub(super) async fn before(name: &ServiceName, session: &Session<'_>) -> Result<Option<v1::IsolatedService>, Error> {
    match session.info(name).await {
        Ok(info) => Ok(info.service),
        Err(Error::Call(CallError::Refused(refusal))) if refusal.reason == "SERVICE_NOT_FOUND" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The service as it is; one that is not registered is refused.
pub(super) async fn present(name: &ServiceName, session: &Session<'_>) -> Result<v1::IsolatedService, Error> {
    Ok(session.info(name).await?.service.unwrap_or_default())
}

/// What differs between two states of a service: what was written, and what is registered.
pub(super) fn difference(
    before: Option<&v1::IsolatedService>,
    after: &v1::IsolatedService,
) -> Result<Vec<Change>, Fault> {
    let none = v1::IsolatedService::default();
    let before = before.unwrap_or(&none);
    let list = |isolated: &v1::IsolatedService| -> Result<_, Fault> {
        let service = fields(&dynamic(&isolated.service.clone().unwrap_or_default())?);
        let policy = fields(&dynamic(&isolated.written_policy.clone().unwrap_or_default())?);
        Ok([service, policy].concat())
    };
    let mut found = changes(&list(before)?, &list(after)?);
    found.retain(|change| !matches!(change.path.as_str(), "name" | "namespace"));
    Ok(found)
}

/// Shows what would change, by the rules of this release.
pub(super) fn dry_run(
    name: &str,
    write: &WriteArgs,
    before: Option<&v1::IsolatedService>,
    after: &v1::IsolatedService,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    write.check(name, before)?;
    let written = after.written_policy.clone().unwrap_or_default();
    let policy = effective_policy(&written).map_err(|invalid| invalid_policy(name, &invalid))?;
    let mut effective = to_wire(&policy);
    if let Some(temporary) = &after.temporary_level {
        effective.level = temporary.level;
    }
    let found = difference(before, after).map_err(PrintError::from)?;
    let follows = in_force(before, &effective, &written, &found).map_err(PrintError::from)?;
    if session.format == Format::Name {
        writeln!(session.out, "{name}")?;
    } else if found.is_empty() && follows.is_empty() {
        writeln!(session.out, "{name}: nothing would change")?;
    } else {
        let head = if before.is_some() { "would change" } else { "would be registered" };
        writeln!(session.out, "{name}: {head}")?;
        found.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
        follows.iter().try_for_each(|line| writeln!(session.out, "  {line}"))?;
    }
    session.out.flush()?;
    say("nothing was changed; this is by the rules of this release, the manager has not checked it");
    Ok(())
}

/// What changes in force beyond what is written: what a preset or default brings, and what the level lets in or out.
fn in_force(
    before: Option<&v1::IsolatedService>,
    effective: &v1::IsolationPolicy,
    written: &v1::IsolationPolicy,
    said: &[Change],
) -> Result<Vec<String>, Fault> {
    let Some(before) = before else { return Ok(Vec::new()) };
    let old = before.policy.clone().unwrap_or_default();
    let follows = changes(&fields(&dynamic(&old)?), &fields(&dynamic(effective)?));
    // A level that is left to the policy is said, and what it is follows.
    let is_auto = [before.written_policy.as_ref(), Some(written)]
        .into_iter()
        .flatten()
        .any(|policy| policy.level() == v1::IsolationLevel::Auto);
    let is_said = |path: &str| said.iter().any(|said| said.path == path) && !(is_auto && path == "level");
    let follows = follows.iter().filter(|change| !is_said(&change.path));
    let mut lines: Vec<_> = follows.map(|change| format!("in force: {change}")).collect();
    let inactive = |policy: &v1::IsolationPolicy, written: &v1::IsolationPolicy| {
        let level = level_from_wire(policy.level).ok().flatten().and_then(LevelChoice::fixed);
        level.map_or_else(Vec::new, |level| inactive_fields(written, level))
    };
    let (was, is) = (inactive(&old, written), inactive(effective, written));
    lines.extend(was.iter().filter(|path| !is.contains(path)).map(|path| format!("comes into force: {path}")));
    lines.extend(is.iter().filter(|path| !was.contains(path)).map(|path| format!("is no longer in force: {path}")));
    Ok(lines)
}

/// A policy that no manager of this release takes.
pub(super) fn invalid_policy(name: &str, invalid: &InvalidPolicy) -> Error {
    let fields = invalid.violations().iter().map(|one| format!("\n  {}: {}", one.path, one.description));
    Error::failed(
        format!("{name}: the policy would be invalid{}", fields.collect::<String>()),
        "cofferdam policy set --help",
    )
}

/// Tells what came of a write, and waits where that was asked for.
pub(super) async fn report(
    args: &WriteArgs,
    before: Option<&v1::IsolatedService>,
    after: Option<v1::IsolatedService>,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    report_as("", args, before, after, session).await
}

/// The same, of a write that is no change of the policy, in words of its own.
pub(super) async fn report_as(
    what: &str,
    args: &WriteArgs,
    before: Option<&v1::IsolatedService>,
    after: Option<v1::IsolatedService>,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    let after = after.unwrap_or_default();
    let service = after.service.clone().unwrap_or_default();
    let name = session.shown(&service.namespace, &service.name);
    let found = difference(before, &after).map_err(PrintError::from)?;
    let mut head = headline(&name, what, before, &after, &found);
    let place = (service.namespace.clone(), service.name.clone());
    let subject = if what.is_empty() { Subject::Policy } else { Subject::Orders };
    let awaited = args.await_instances(place, after.revision, subject, session).await?;
    if let Some(Ok(waited)) = &awaited {
        head.push_str(&format!(", {waited}"));
    }
    match session.format {
        Format::Name => writeln!(session.out, "{name}")?,
        Format::Json | Format::Yaml => say(&head),
        Format::Table | Format::Wide => {
            writeln!(session.out, "{head}")?;
            if found.len() > 1 && before.is_some() {
                found.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
            }
        }
    }
    session.out.flush()?;
    match awaited {
        Some(Err(why)) => Err(Error::degraded(format!("{name}: {why}"), format!("cofferdam wait {name}"))),
        _ => Ok(()),
    }
}

/// `stripe: level: enhanced -> full, revision 19 -> 20`, in a line.
fn headline(
    name: &str,
    what: &str,
    before: Option<&v1::IsolatedService>,
    after: &v1::IsolatedService,
    found: &[Change],
) -> String {
    let written = written(before.and_then(|before| before.revision.as_ref()).into_iter().chain(&after.revision));
    let number = |isolated: &v1::IsolatedService| written(isolated.revision.as_ref());
    match (before, found) {
        (None, _) => format!("{name}: registered, revision {}", number(after)),
        (Some(before), []) if before.revision == after.revision => {
            format!("{name}: unchanged, revision {}", number(after))
        }
        (Some(before), found) => {
            let said = if what.is_empty() { String::new() } else { format!("{what}, ") };
            let what = match found {
                [one] if one.path == "level" => format!("{} -> {}, ", written_level(before), written_level(after)),
                [one] => format!("{one}, "),
                [] => said,
                many => format!("{} fields, ", many.len()),
            };
            // What a change of something else made of a level that is left to the policy.
            let (was, is) = (written_level(before), written_level(after));
            let is_told = !is_auto(after) || was == is || found.iter().any(|change| change.path == "level");
            let level = if is_told { String::new() } else { format!("level {was} -> {is}, ") };
            format!("{name}: {what}{level}revision {} -> {}", number(before), number(after))
        }
    }
}

/// Waits for instances: what there is to say of it, where they have it in force and where they have not.
pub(super) async fn wait_for(
    place: (String, String),
    revision: Option<v1::Revision>,
    subject: Subject,
    quorum: Option<Enough>,
    session: &Session<'_>,
) -> Result<Result<String, String>, Error> {
    let seen = match look(session, place.clone()).await {
        // What was written is not to go untold.
        Err(error @ CallError::NoAnswer { .. }) if session.client.time_left().is_some() => {
            return Ok(Err(format!("it is stored, and {}", error.to_string().lines().next().unwrap_or_default())));
        }
        seen => seen?,
    };
    if is_unused(&seen) {
        return Ok(Ok("no instance uses it".to_owned()));
    }
    let waited = convergence::wait(session, place, seen, revision, subject, quorum).await?;
    let found = waited.answer.convergence.unwrap_or_default();
    if waited.answer.reached {
        // What was waited for is in force, and not with the policy that is written.
        let contained = found.services.iter().filter_map(|service| service.containment.as_ref());
        contained
            .for_each(|containment| say(&format!("the policy is contained {}", convergence::contained(containment))));
        return Ok(Ok(format!("{} in {}", applied(&found), length(Some(waited.took)))));
    }
    say_missing(&found);
    if counts(&found).1 == 0 {
        return Ok(Err("it is stored, and no instance uses it".to_owned()));
    }
    Ok(Err(format!("it is stored, and {} after {}", applied(&found), length(Some(waited.took)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::read;
    use serde_json::json;

    fn isolated(revision: u64, policy: serde_json::Value) -> v1::IsolatedService {
        let written: v1::IsolationPolicy = read(policy).unwrap();
        let effective = to_wire(&effective_policy(&written).unwrap());
        v1::IsolatedService {
            service: Some(v1::Service { name: "stripe".into(), ..Default::default() }),
            policy: Some(effective),
            written_policy: Some(written),
            revision: Some(v1::Revision { epoch: 1, revision }),
            ..Default::default()
        }
    }

    fn told(before: Option<&v1::IsolatedService>, after: &v1::IsolatedService) -> String {
        headline("stripe", "", before, after, &difference(before, after).unwrap())
    }

    #[test]
    fn a_write_is_told_in_a_line() {
        let before = isolated(19, json!({"level": "enhanced"}));
        assert_eq!(
            told(Some(&before), &isolated(20, json!({"level": "full"}))),
            "stripe: enhanced -> full, revision 19 -> 20"
        );
        let unsaid = isolated(19, json!({"preset": "stripe"}));
        let level = written_level(&unsaid);
        let none = isolated(20, json!({"preset": "stripe", "level": "none"}));
        assert_eq!(told(Some(&unsaid), &none), format!("stripe: {level} -> none, revision 19 -> 20"), "before: unset");
        let mut restored = isolated(20, json!({"level": "full"}));
        restored.revision = Some(v1::Revision { epoch: 2, revision: 20 });
        assert_eq!(told(Some(&before), &restored), "stripe: enhanced -> full, revision 1.19 -> 2.20");
        assert_eq!(told(Some(&before), &before), "stripe: unchanged, revision 19");
        assert_eq!(told(None, &before), "stripe: registered, revision 19");
        let retry = json!({"level": "enhanced", "retry": {"maxAttempts": 4}});
        assert_eq!(
            told(Some(&before), &isolated(21, retry)),
            "stripe: retry.max_attempts: unset -> 4, revision 19 -> 21"
        );
        let both = json!({"level": "full", "retry": {"maxAttempts": 4}});
        assert_eq!(told(Some(&before), &isolated(22, both)), "stripe: 2 fields, revision 19 -> 22");
    }

    #[test]
    fn what_follows_from_a_change_is_told_as_well() {
        let before = isolated(1, json!({"level": "basic", "retry": {"maxAttempts": 4}}));
        let after = isolated(1, json!({"level": "enhanced", "retry": {"maxAttempts": 4}}));
        let said = difference(Some(&before), &after).unwrap();
        let lines =
            in_force(Some(&before), after.policy.as_ref().unwrap(), after.written_policy.as_ref().unwrap(), &said);
        assert_eq!(lines.unwrap(), ["comes into force: retry"]);
    }

    #[test]
    fn no_two_requests_have_one_name() {
        assert_ne!(request_id(), request_id());
        assert!(request_id().len() <= 128);
    }
}
