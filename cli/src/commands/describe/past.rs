//! A service as it was.

use super::super::Error;
use super::super::explain::{Said, auto, table_of};
use super::super::moment::{Moment, number};
use super::super::session::{ServiceName, Session};
use super::service::entry;
use crate::message::{dynamic, fields};
use crate::output::PrintError;
use cofferdam_core::wire::{Origin, TracedPolicy, needed_levels};
use cofferdam_proto::v1;
use std::time::SystemTime;

/// Describes a service as it was at a revision or a time: where values came from is by the rules of this release.
pub(super) async fn run(name: &ServiceName, at: Moment, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = session.place(name);
    let shown = session.shown(&namespace, &service);
    let at = Some(at.of(name, session).await?);
    let request = v1::GetRevisionRequest { namespace, service, at };
    let answer = session.client.call(request).await?;
    if session.format.is_document() {
        return session.document(&answer);
    }
    let change = answer.revision.clone().unwrap_or_default();
    let time = change.time.and_then(|time| SystemTime::try_from(time).ok());
    let time = time.map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default();
    let out = &mut *session.out;
    entry(out, "name", &shown)?;
    let revision = change.revision.as_ref();
    let epoch = revision.map(|revision| format!(" of epoch {}", revision.epoch)).unwrap_or_default();
    entry(out, "revision", &(number(revision) + &epoch))?;
    entry(out, "since", &time)?;
    entry(out, "by", &change.actor)?;
    entry(out, "why", &change.reason)?;
    let (Some(was), Some(written)) = (&answer.service, &answer.written_policy) else {
        entry(out, "registered", "no")?;
        return Ok(out.flush()?);
    };
    entry(out, "version", &was.version)?;
    entry(out, "enabled", if was.enabled == Some(false) { "no: every call was rejected" } else { "yes" })?;
    let (Some(policy), Ok(traced)) = (&answer.policy, TracedPolicy::new(written)) else {
        entry(out, "policy", "this release does not take it any more (-o yaml shows it)")?;
        return Ok(out.flush()?);
    };
    writeln!(out)?;
    writeln!(out, "policy in force")?;
    let inactive = needed_levels(policy, traced.policy().level);
    let said = |field: crate::message::Field| {
        let origin = match traced.origin(&field.path, None) {
            _ if field.path.starts_with("method_overrides") => "policy".to_owned(),
            Origin::Default => "default".to_owned(),
            Origin::Preset(preset) => format!("preset {preset}"),
            Origin::Written | Origin::Override => "policy".to_owned(),
            Origin::Follows(other) => format!("follows {other}"),
            Origin::Auto(because) => auto(&because),
        };
        let is_below = |path: &str| {
            field.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let needs = inactive.iter().find(|(path, _)| is_below(path)).map(|(_, level)| level.to_string());
        Said { path: field.path, value: field.value, origin, needs }
    };
    let list = fields(&dynamic(policy).map_err(PrintError::from)?);
    let table = table_of(list.into_iter().map(said));
    session.table(&table)
}
