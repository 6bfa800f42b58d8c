use super::super::Error;
use super::super::convergence::Subject;
use super::super::session::{Common, Session};
use super::super::write::{request_id, wait_for};
use super::alternatives;
use super::manifest::{Manifest, load};
use crate::client::CallError;
use crate::message::Change;
use crate::output::{Format, PrintError, counted, say};
use clap::Args;
use cofferdam_proto::v1;
use cofferdam_server::registry::check_reason;
use std::collections::{HashMap, HashSet};
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
    /// Wait until instances have it in force, also what had been as said
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

impl Step {
    /// Whether there is nothing to write.
    fn is_as_said(&self) -> bool {
        self.before.is_some() && self.changes.is_empty()
    }
}

/// Registers what files say.
pub(in crate::commands) async fn run(args: &ApplyArgs, session: &mut Session<'_>) -> Result<(), Error> {
    check_reason(&args.reason).map_err(|error| Error::usage(format!("--{error}"), "cofferdam apply --help"))?;
    let mut manifests = load(&args.file, session)?;
    for manifest in &mut manifests {
        if let Some(preset) = &args.preset {
            give_preset(manifest, preset);
        }
        if !args.reason.is_empty() {
            manifest.request.reason.clone_from(&args.reason);
        }
    }
    let steps = plan(manifests, session).await?;
    if args.dry_run {
        steps.iter().try_for_each(|step| show(step, session))?;
        say("nothing was changed; this is by the rules of this release, the manager has not checked it");
        return Ok(());
    }
    let count = steps.len();
    let mut late = Vec::new();
    let mut untold = None;
    for (done, step) in steps.into_iter().enumerate() {
        let written = write(step, session).await.map_err(|(place, error)| {
            let what = if matches!(error, CallError::Refused(_)) { "was refused" } else { "brought no answer" };
            say(&format!("{done} of {count} services were applied; {place} {what}, and what follows it was not tried"));
            error
        })?;
        let waited = if args.wait { wait(&written, session).await } else { Ok(String::new()) };
        let waited = waited.unwrap_or_else(|why| {
            late.push(why);
            String::new()
        });
        // What is to be written does not depend on who reads what was.
        if untold.is_none() {
            untold = tell(&written, &waited, session).err();
        }
    }
    if let Some(error) = untold {
        late.iter().for_each(|line| say(line));
        let what = format!("all {count} services were applied, and not all of it could be told: {error}");
        return Err(Error::failed(what, "cofferdam diff -f FILE"));
    }
    match late.as_slice() {
        [] => Ok(()),
        _ => Err(Error::Degraded([late, vec!["try: cofferdam check".to_owned()]].concat())),
    }
}

fn give_preset(manifest: &mut Manifest, preset: &str) {
    let policy = manifest.request.policy.get_or_insert_default();
    if policy.preset.is_empty() {
        preset.clone_into(&mut policy.preset);
    }
}

/// What is compared with what files say, of a service that is registered.
const FIELDS: &[&str] = &["service", "written_policy", "revision"];

/// What each manifest would change, in order.
pub(super) async fn plan(manifests: Vec<Manifest>, session: &Session<'_>) -> Result<Vec<Step>, Error> {
    let namespaces: HashSet<_> = manifests.iter().map(|manifest| manifest.key().0).collect();
    let mut registered = Vec::new();
    for namespace in namespaces {
        registered.extend(session.client.services(&namespace, FIELDS).await?.services);
    }
    let key = |isolated: &v1::IsolatedService| {
        let service = isolated.service.as_ref()?;
        Some((service.namespace.clone(), service.name.clone()))
    };
    let by_key: HashMap<_, _> = registered.iter().filter_map(|isolated| Some((key(isolated)?, isolated))).collect();
    let found = |manifest: &Manifest| by_key.get(&manifest.key()).copied();
    let mut written = Vec::new();
    let mut faults = Vec::new();
    for manifest in &manifests {
        match manifest.written(found(manifest)) {
            Ok(policy) => written.push(policy),
            Err(lines) => faults.extend(lines),
        }
    }
    let list = |lines: Vec<String>| {
        format!("{}, so nothing was done:\n  {}", counted(lines.len(), "fault", "faults"), lines.join("\n  "))
    };
    if !faults.is_empty() {
        return Err(Error::usage(list(faults), "the same again, when it is mended"));
    }
    let faults = alternatives::faults(&manifests, &written, &registered);
    if !faults.is_empty() {
        return Err(Error::failed(list(faults), "cofferdam get services"));
    }
    let step = |(mut manifest, written): (Manifest, v1::IsolationPolicy)| {
        let before = found(&manifest).cloned();
        let changes = manifest.difference(before.as_ref(), &written).map_err(PrintError::from)?;
        if let Some(before) = &before {
            manifest.keep_level(before, &written);
        }
        Ok(Step { manifest, before, changes })
    };
    manifests.into_iter().zip(written).map(step).collect()
}

/// Prints what a step would change.
pub(super) fn show(step: &Step, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, name) = step.manifest.key();
    let name = session.shown(&namespace, &name);
    let head = match &step.before {
        None => "is not registered",
        Some(_) if step.is_as_said() => "is as said",
        Some(_) => "differs",
    };
    writeln!(session.out, "{name}: {head}")?;
    step.changes.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
    Ok(())
}

/// A service that was written.
struct Done {
    step: Step,
    answer: v1::RegisterServiceResponse,
}

impl Done {
    /// Its revision before and after. Zero: it was not registered.
    fn revisions(&self) -> (u64, u64) {
        let number =
            |isolated: Option<&v1::IsolatedService>| isolated.and_then(|one| one.revision).unwrap_or_default().revision;
        (number(self.step.before.as_ref()), number(self.answer.service.as_ref()))
    }
}

/// Writes one service. What refuses it comes with the place where it is said.
async fn write(step: Step, session: &Session<'_>) -> Result<Done, (String, CallError)> {
    let place = &step.manifest.place;
    // What is as said is not written, and a manager would store the name of the request all the same.
    let request_id = if step.is_as_said() { String::new() } else { request_id() };
    let request = v1::RegisterServiceRequest { request_id, ..step.manifest.request.clone() };
    match session.client.call(request).await {
        Ok(answer) => Ok(Done { step, answer }),
        Err(error) => Err((place.clone(), placed(error, place))),
    }
}

/// Waits until instances have in force what a file says, which may have been written before: what there is to say of it. An
/// error is what is to be said at the end.
async fn wait(done: &Done, session: &Session<'_>) -> Result<String, String> {
    let (namespace, service) = done.step.manifest.key();
    let name = session.shown(&namespace, &service);
    let revision = done.answer.service.as_ref().and_then(|service| service.revision);
    match wait_for((namespace, service), revision, Subject::Policy, None, session).await {
        Ok(Ok(waited)) => Ok(format!(", {waited}")),
        Ok(Err(why)) => Err(format!("{name}: {why}")),
        Err(error) => Err(format!("{name}: it is stored; {}", error.to_string().lines().next().unwrap_or_default())),
    }
}

fn tell(done: &Done, waited: &str, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = done.step.manifest.key();
    let name = session.shown(&namespace, &service);
    let line = match (&done.step.before, done.revisions()) {
        (None, (_, is)) => format!("{name}: registered, revision {is}{waited}"),
        (Some(_), (was, is)) if was == is => format!("{name}: unchanged, revision {is}{waited}"),
        (Some(_), (was, is)) => format!("{name}: changed, revision {was} -> {is}{waited}"),
    };
    match session.format {
        Format::Json | Format::Yaml => session.document(&done.answer)?,
        Format::Name => writeln!(session.out, "{name}")?,
        Format::Table | Format::Wide => {
            writeln!(session.out, "{line}")?;
            if done.step.before.is_some() {
                done.step.changes.iter().try_for_each(|change| writeln!(session.out, "  {change}"))?;
            }
        }
    }
    Ok(session.out.flush()?)
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
