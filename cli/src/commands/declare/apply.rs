use super::super::Error;
use super::super::session::{Common, Session};
use super::super::write::{request_id, wait_for};
use super::manifest::{Manifest, load, missing};
use crate::client::CallError;
use crate::message::Change;
use crate::output::{Format, PrintError, say};
use clap::Args;
use cofferdam_proto::v1;
use std::collections::HashSet;
use std::path::PathBuf;

pub(in crate::commands) const HELP: &str = "\
A document is a RegisterServiceRequest of the contract in YAML or JSON; `cofferdam export` prints them. All documents are read
and checked before the first is written. Services that no document names are left alone.

Examples:
  cofferdam apply -f services.yaml
  cofferdam apply -f policies/ --dry-run
  cofferdam import opossum options.json --service payments | cofferdam apply -f - --wait";

/// What to apply.
#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// A file, or a folder of files that end with .yaml, .yml or .json; - is the standard input; may be given several times
    #[arg(long, short, value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Wait until instances have what changed in force
    #[arg(long)]
    wait: bool,
    /// Values for what policies without a preset leave unset
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Why, for people; it stands in the services' history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    pub(in crate::commands) common: Common,
}

/// A service to be written, as it is and with what changes.
pub(super) struct Step {
    pub(super) manifest: Manifest,
    pub(super) before: Option<v1::IsolatedService>,
    pub(super) changes: Vec<Change>,
}

/// Registers what files say.
pub(in crate::commands) async fn run(args: &ApplyArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let mut manifests = load(&args.file, session)?;
    if let Some(preset) = &args.preset {
        give_preset(&mut manifests, preset)?;
    }
    let steps = plan(manifests, session).await?;
    if args.dry_run {
        steps.iter().try_for_each(|step| show(step, session))?;
        say("nothing was changed; this is by the rules of this release, the manager has not checked it");
        return Ok(());
    }
    let count = steps.len();
    let mut late = Vec::new();
    for (done, step) in steps.into_iter().enumerate() {
        let place = step.manifest.place.clone();
        let told = write(step, args, session).await;
        match told {
            Ok(told) => late.extend(told),
            Err(error) => {
                say(&format!(
                    "{done} of {count} services were applied; {place} was refused, and what follows it was not tried"
                ));
                return Err(error);
            }
        }
    }
    match late.as_slice() {
        [] => Ok(()),
        late => Err(Error::Degraded(format!("{}\ntry: cofferdam check", late.join("\n")))),
    }
}

fn give_preset(manifests: &mut [Manifest], preset: &str) -> Result<(), Error> {
    for manifest in manifests {
        let policy = manifest.request.policy.get_or_insert_default();
        if policy.preset.is_empty() {
            preset.clone_into(&mut policy.preset);
        }
        cofferdam_core::wire::effective_policy(policy)
            .map_err(|invalid| super::super::write::invalid_policy(&manifest.place, &invalid))?;
    }
    Ok(())
}

/// What each manifest would change, in order.
pub(super) async fn plan(manifests: Vec<Manifest>, session: &Session<'_>) -> Result<Vec<Step>, Error> {
    let namespaces: HashSet<_> = manifests.iter().map(|manifest| manifest.key().0).collect();
    let mut registered = Vec::new();
    for namespace in namespaces {
        registered.extend(session.client.services(&namespace).await?.services);
    }
    let key = |isolated: &v1::IsolatedService| {
        let service = isolated.service.clone().unwrap_or_default();
        (service.namespace, service.name)
    };
    let lines = missing(&manifests, &registered.iter().map(key).collect());
    if !lines.is_empty() {
        let what = format!("nothing was changed: {} faults\n  {}", lines.len(), lines.join("\n  "));
        return Err(Error::failed(what, "cofferdam get services"));
    }
    let step = |manifest: Manifest| {
        let before = registered.iter().find(|isolated| key(isolated) == manifest.key()).cloned();
        let changes = manifest.difference(before.as_ref()).map_err(PrintError::from)?;
        Ok(Step { manifest, before, changes })
    };
    manifests.into_iter().map(step).collect()
}

/// Prints what a step would change.
pub(super) fn show(step: &Step, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, name) = step.manifest.key();
    let name = session.shown(&namespace, &name);
    let head = match (&step.before, step.changes.is_empty()) {
        (None, _) => "is not registered",
        (Some(_), true) => "is as said",
        (Some(_), false) => "differs",
    };
    writeln!(session.out, "{name}: {head}")?;
    step.changes.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
    Ok(())
}

/// Writes one service: what is to be said at the end, where instances do not have it in force in time.
async fn write(step: Step, args: &ApplyArgs, session: &mut Session<'_>) -> Result<Option<String>, Error> {
    let (namespace, service) = step.manifest.key();
    let name = session.shown(&namespace, &service);
    let mut request = v1::RegisterServiceRequest { request_id: request_id(), ..step.manifest.request };
    if !args.reason.is_empty() {
        request.reason.clone_from(&args.reason);
    }
    let answer = session.client.call(request).await.map_err(|error| placed(error, &step.manifest.place))?;
    let number =
        |isolated: Option<&v1::IsolatedService>| isolated.and_then(|one| one.revision).unwrap_or_default().revision;
    let (was, is) = (number(step.before.as_ref()), number(answer.service.as_ref()));
    let mut line = match &step.before {
        None => format!("{name}: registered, revision {is}"),
        Some(_) if was == is => format!("{name}: unchanged, revision {is}"),
        Some(_) => format!("{name}: changed, revision {was} -> {is}"),
    };
    let mut late = None;
    if args.wait && was != is {
        let revision = answer.service.as_ref().and_then(|service| service.revision);
        match wait_for((namespace, service), revision, None, session).await? {
            Ok(waited) => line.push_str(&format!(", {waited}")),
            Err(why) => late = Some(format!("{name}: {why}")),
        }
    }
    match session.format {
        Format::Json | Format::Yaml => session.document(&answer)?,
        Format::Name => writeln!(session.out, "{name}")?,
        Format::Table | Format::Wide => {
            writeln!(session.out, "{line}")?;
            if step.before.is_some() {
                step.changes.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
            }
        }
    }
    session.out.flush()?;
    Ok(late)
}

/// A refusal with the file that it is about.
fn placed(error: CallError, place: &str) -> CallError {
    match error {
        CallError::Refused(mut refusal) => {
            refusal.message = format!("{place}: {}", refusal.message);
            refusal.fields.iter_mut().for_each(|(path, _)| *path = format!("{place}: {path}"));
            CallError::Refused(refusal)
        }
        error => error,
    }
}
