//! `cofferdam explain`: what calls go by, where each value comes from, and what is not in force and why.

mod receipt;
pub(super) mod rejected;

use self::receipt::Receipt;
use super::Error;
use super::convergence::{contained, laggard};
use super::moment::{full, number, written};
use super::session::{Common, ServiceName, Session, say_lacks};
use crate::message::{short_name, shown};
use crate::output::{Cell, Format, Style, Table, Tone, age, std_duration};
use clap::Args;
use cofferdam_proto::v1;
use std::io::{self, Write};

pub(super) const HELP: &str = "\
Examples:
  cofferdam explain payments
  cofferdam explain payments --method shop.Payments/Get --all
  cofferdam explain payments --instance checkout-7f
  cofferdam explain payments --receipt 'breaker=service state=open by=rules revision=7.12 failed=5/8'";

/// What calls.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The service
    service: ServiceName,
    /// The method that is called [default: one that no override is for]
    #[arg(long, value_name = "METHOD", default_value = "")]
    method: String,
    /// The pool that the call names [default: as the policy's globs say]
    #[arg(long, value_name = "NAME", default_value = "")]
    pool: String,
    /// The instance that makes the call
    #[arg(long, value_name = "ID", default_value = "")]
    instance: String,
    /// A receipt of a rejected call, as an SDK or `exec` has printed it: what happened, and what to do
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["method", "pool", "instance", "all"])]
    receipt: Option<String>,
    /// The built-in defaults as well
    #[arg(long, short)]
    all: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &ExplainArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = session.place(&args.service);
    let name = session.shown(&namespace, &service);
    let request = v1::ExplainRequest {
        namespace,
        service,
        method: args.method.clone(),
        pool: args.pool.clone(),
        instance_id: args.instance.clone(),
    };
    let told = args.receipt.as_deref().map(Receipt::parse).transpose();
    let told =
        told.map_err(|what| Error::usage(format!("the receipt cannot be read: {what}"), "cofferdam exec --help"))?;
    let answer = session.client.call(request).await?;
    if let Some(receipt) = told {
        return tell(&receipt, &answer, &name, session);
    }
    if session.format.is_document() {
        return session.document(&answer);
    }
    if session.format == Format::Name {
        answer.fields.iter().try_for_each(|field| writeln!(session.out, "{}", field.path))?;
        return Ok(session.out.flush()?);
    }
    say_lacks(answer.stale_for, &answer.unreachable_managers);
    let style = session.style;
    summary(&answer, &name, style, session.out)?;
    if let Some((table, more)) = rejected::table(&answer.rejections) {
        session.table(&table)?;
        more.iter().try_for_each(|line| writeln!(session.out, "{line}"))?;
        writeln!(session.out)?;
    }
    let is_asked = |field: &&v1::ExplainedField| args.all || field.origin() != v1::OriginKind::Default;
    let fields: Vec<_> = answer.fields.iter().filter(is_asked).collect();
    let left_out = answer.fields.len() - fields.len();
    session.table(&table(fields))?;
    if left_out > 0 {
        writeln!(session.out)?;
        writeln!(session.out, "{left_out} further fields have the built-in default (--all)")?;
    }
    Ok(session.out.flush()?)
}

/// What a receipt means, and whether the policy has changed since.
fn tell(receipt: &Receipt, answer: &v1::ExplainResponse, name: &str, session: &mut Session<'_>) -> Result<(), Error> {
    receipt.words(name).iter().try_for_each(|line| writeln!(session.out, "{line}"))?;
    let present = answer.revision.unwrap_or_default();
    match receipt.revision() {
        None => writeln!(session.out, "the instance went by its built-in default: it had no policy of this service")?,
        Some(then) if then == present => {
            writeln!(session.out, "it went by revision {}, which is the present one", number(Some(&then)))?;
        }
        Some(then) if (then.epoch, then.revision) > (present.epoch, present.revision) => {
            let what =
                format!("the receipt is of revision {}, and {name} is at {}", full(Some(&then)), full(Some(&present)));
            return Err(Error::failed(what, format!("cofferdam history {name}")));
        }
        Some(then) => {
            let written = written([&then, &present]);
            let (then, present) = (written(Some(&then)), written(Some(&present)));
            writeln!(session.out, "it went by revision {then}, the present one is {present}")?;
            writeln!(session.out, "try: cofferdam diff {name} {then} {present}")?;
        }
    }
    Ok(session.out.flush()?)
}

fn summary(answer: &v1::ExplainResponse, name: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut entry = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "{name:<14}{value}") }
    };
    let revision = answer.revision.unwrap_or_default();
    let at =
        format!("{name} at revision {} of epoch {}, {}", revision.revision, revision.epoch, hash(&answer.policy_hash));
    entry("service", &at)?;
    if !answer.enabled {
        entry("", &style.paint(Tone::Bad, "it is disabled: every call is rejected"))?;
    }
    let level = short_name(answer.level().as_str_name(), "ISOLATION_LEVEL_");
    match &answer.temporary_level {
        Some(temporary) => {
            let why = because(&temporary.reason);
            let left = age(std_duration(temporary.ends_in));
            entry("level", &format!("{level} for another {left}, by {}{why}", temporary.actor))?;
        }
        None => {
            let is_auto = |field: &&v1::ExplainedField| field.origin() == v1::OriginKind::AutoLevel;
            let chosen = answer.fields.iter().find(is_auto).map(|field| format!(" ({})", auto(&field.origin_name)));
            entry("level", &(level + &chosen.unwrap_or_default()))?;
        }
    }
    if !answer.method_glob.is_empty() {
        let idempotent = match answer.idempotent {
            None => "",
            Some(true) => ", may run twice",
            Some(false) => ", must not run twice",
        };
        entry("methods", &format!("override {}{idempotent}", answer.method_glob))?;
    }
    entry("pool", &answer.pool)?;
    entry("breaker", &breaker(answer))?;
    for (index, hold) in answer.holds.iter().enumerate() {
        let name = if index == 0 { "held" } else { "" };
        let tone = if index == 0 { Tone::Warn } else { Tone::Faint };
        entry(name, &style.paint(tone, &held(hold)))?;
    }
    if let Some(hint) = &answer.fleet_hint {
        let ends = age(std_duration(hint.ends_in));
        let heed =
            if hint.mode() == v1::FleetHintMode::Enforce { "trips at half of its numbers" } else { "is told only" };
        entry(
            "fleet hint",
            &format!("{} of {} instances are open: it {heed}, for {ends}", hint.open_instances, hint.instances),
        )?;
    }
    let standing = answer.convergence.clone().unwrap_or_default();
    let tone = if standing.applied == standing.instances { Tone::Good } else { Tone::Warn };
    let count = match standing.instances {
        0 => "no instance uses it".to_owned(),
        all => style.paint(tone, &format!("at {} of {all} instances", standing.applied)),
    };
    entry("in force", &count)?;
    match &answer.instance {
        Some(instance) => {
            let mut label = instance.instance_id.as_str();
            for line in at_instance(instance, name, revision) {
                entry(std::mem::take(&mut label), &line)?;
            }
        }
        None => standing.laggards.iter().take(LAGGARDS).try_for_each(|one| entry("", &laggard(one)))?,
    }
    if let Some(containment) = &standing.containment {
        entry("contained", &contained(containment))?;
    }
    writeln!(out)
}

/// How many instances that lag are named.
const LAGGARDS: usize = 10;

/// What calls meet.
fn breaker(answer: &v1::ExplainResponse) -> String {
    match &answer.breaker {
        None => "none in force at this level".to_owned(),
        Some(target) if !target.pool.is_empty() => format!("that of pool {}", target.pool),
        Some(target) if !target.method_glob.is_empty() => format!("that of methods {}", target.method_glob),
        Some(_) => "the service's".to_owned(),
    }
}

/// `open by ann for another 4m: the database is being moved`.
fn held(hold: &v1::Hold) -> String {
    let forced = short_name(hold.forced().as_str_name(), "FORCED_STATE_");
    let left = match age(std_duration(hold.ends_in)) {
        left if left.is_empty() => "until released".to_owned(),
        left => format!("for another {left}"),
    };
    let at = hold.target.as_ref().map_or("", |target| target.instance_id.as_str());
    let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
    format!("{forced}{at} by {} {left}{}", hold.owner, because(&hold.reason))
}

fn at_instance(instance: &v1::ExplainedInstance, service: &str, present: v1::Revision) -> Vec<String> {
    let state = short_name(instance.state().as_str_name(), "INSTANCE_SYNC_STATE_");
    let has =
        instance.applied_revision.map_or_else(|| "nothing".to_owned(), |one| format!("revision {}", one.revision));
    let hash = if instance.applied_policy_hash.is_empty() {
        String::new()
    } else {
        format!(", {}", hash(&instance.applied_policy_hash))
    };
    let mut lines = vec![format!("{state}, has {has} in force{hash}")];
    let since = age(std_duration(instance.age));
    if !instance.reason.is_empty() {
        let field = if instance.field_path.is_empty() { String::new() } else { format!("{}: ", instance.field_path) };
        lines.push(format!("for {since}: {field}{}", instance.reason));
    }
    if let Some(applied) = instance.applied_revision.filter(|applied| *applied != present) {
        let written = written([&applied, &present]);
        let (applied, present) = (written(Some(&applied)), written(Some(&present)));
        lines.push(format!("try: cofferdam diff {service} {applied} {present}"));
    }
    lines
}

/// What is said of a field.
pub(super) struct Said {
    /// Its path.
    pub(super) path: String,
    /// Its value.
    pub(super) value: String,
    /// Where that comes from.
    pub(super) origin: String,
    /// The level from which on it is in force. `None`: it is.
    pub(super) needs: Option<String>,
}

/// The fields with where they come from.
pub(super) fn table<'a>(fields: impl IntoIterator<Item = &'a v1::ExplainedField>) -> Table {
    let said = |field: &v1::ExplainedField| {
        let needs = Some(field.needs_level()).filter(|needs| *needs != v1::IsolationLevel::Unspecified);
        Said {
            path: field.path.clone(),
            value: shown(&field.value),
            origin: origin(field),
            needs: needs.map(|needs| short_name(needs.as_str_name(), "ISOLATION_LEVEL_")),
        }
    };
    table_of(fields.into_iter().map(said))
}

/// The same, whoever says it.
pub(super) fn table_of(fields: impl IntoIterator<Item = Said>) -> Table {
    let mut table = Table::new(["FIELD", "VALUE", "ORIGIN", " "]);
    for Said { path, value, origin, needs } in fields {
        let tone = if needs.is_some() { Tone::Faint } else { Tone::Plain };
        let note = needs.map_or_else(|| " ".to_owned(), |level| format!("not in force below level {level}"));
        table.push([path, value, origin, note].map(|text| Cell::toned(text, tone)).to_vec());
    }
    table
}

/// `preset database`, `override Get*`, `follows circuit_breaker.open_duration`.
fn origin(field: &v1::ExplainedField) -> String {
    let kind = match field.origin() {
        v1::OriginKind::Unspecified => "unknown",
        v1::OriginKind::Default => "default",
        v1::OriginKind::Preset => "preset",
        v1::OriginKind::Service => "policy",
        v1::OriginKind::MethodOverride => "override",
        v1::OriginKind::Follows => "follows",
        v1::OriginKind::TemporaryLevel => "temporary, by",
        v1::OriginKind::AutoLevel => return auto(&field.origin_name),
    };
    if field.origin_name.is_empty() { kind.to_owned() } else { format!("{kind} {}", field.origin_name) }
}

/// `auto: because of bulkhead`.
pub(super) fn auto(because: &str) -> String {
    if because.is_empty() { "auto".to_owned() } else { format!("auto: because of {because}") }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The beginning of a fingerprint, as people compare it.
fn hash(bytes: &[u8]) -> String {
    bytes.iter().take(4).map(|byte| format!("{byte:02x}")).fold("hash ".to_owned(), |text, byte| text + &byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &str, value: &str, origin: v1::OriginKind, name: &str) -> v1::ExplainedField {
        let (path, value, origin_name) = (path.to_owned(), value.to_owned(), name.to_owned());
        v1::ExplainedField { path, value, origin: origin.into(), origin_name, ..Default::default() }
    }

    #[test]
    fn origins_are_told_by_name() {
        let told = |kind, name| origin(&field("retry.max_attempts", "3", kind, name));
        assert_eq!(told(v1::OriginKind::Default, ""), "default");
        assert_eq!(told(v1::OriginKind::Preset, "database"), "preset database");
        assert_eq!(told(v1::OriginKind::MethodOverride, "Get*"), "override Get*");
        assert_eq!(told(v1::OriginKind::TemporaryLevel, "ann"), "temporary, by ann");
        assert_eq!(told(v1::OriginKind::AutoLevel, "bulkhead"), "auto: because of bulkhead");
        assert_eq!(told(v1::OriginKind::AutoLevel, ""), "auto");
    }

    #[test]
    fn what_stands_over_calls_is_told_before_the_fields() {
        let hold = v1::Hold {
            forced: v1::ForcedState::Open.into(),
            owner: "ann".into(),
            reason: "the disk is changed".into(),
            ends_in: Some(prost_types::Duration { seconds: 250, nanos: 0 }),
            ..Default::default()
        };
        let instance = v1::ExplainedInstance {
            instance_id: "pay-1".into(),
            state: v1::InstanceSyncState::Refused.into(),
            applied_revision: Some(v1::Revision { epoch: 7, revision: 18 }),
            applied_policy_hash: vec![1, 2, 3, 4, 5].into(),
            reason: "must be at most 10".into(),
            field_path: "retry.max_attempts".into(),
            age: Some(prost_types::Duration { seconds: 42, nanos: 0 }),
            ..Default::default()
        };
        let answer = v1::ExplainResponse {
            revision: Some(v1::Revision { epoch: 7, revision: 19 }),
            policy_hash: vec![0xab, 0xcd, 0xef, 0x01, 9].into(),
            enabled: true,
            level: v1::IsolationLevel::Enhanced.into(),
            method_glob: "Get*".into(),
            idempotent: Some(true),
            breaker: Some(v1::BreakerTarget { method_glob: "Get*".into(), ..Default::default() }),
            holds: vec![hold],
            convergence: Some(v1::ServiceConvergence { instances: 4, applied: 3, ..Default::default() }),
            instance: Some(instance),
            ..Default::default()
        };
        let mut out = Vec::new();
        summary(&answer, "payments", Style::new(false, false), &mut out).unwrap();
        let expected = "\
service       payments at revision 19 of epoch 7, hash abcdef01
level         enhanced
methods       override Get*, may run twice
breaker       that of methods Get*
held          open by ann for another 4m10s: the disk is changed
in force      at 3 of 4 instances
pay-1         refused, has revision 18 in force, hash 01020304
              for 42s: retry.max_attempts: must be at most 10
              try: cofferdam diff payments 18 19

";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
