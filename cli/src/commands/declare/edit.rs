use super::super::Error;
use super::super::convergence::Subject;
use super::super::session::{ServiceName, Session};
use super::super::write::{WriteArgs, before, difference, present, report, request_id};
use super::manifest::{load, of};
use crate::output::{Document, PrintError, say, yaml};
use clap::Args;
use cofferdam_proto::v1;
use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use tempfile::NamedTempFile;

pub(in crate::commands) const HELP: &str = "\
The service is shown as a file in the editor that VISUAL or EDITOR names (else vi), and registered as it was saved. Somebody
else's change in between is not overwritten.

Examples:
  cofferdam edit payments
  EDITOR='code --wait' cofferdam edit payments --wait";

/// What to edit.
#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// The service
    service: ServiceName,
    #[command(flatten)]
    pub(in crate::commands) write: WriteArgs,
}

/// Edits a service.
pub(in crate::commands) async fn run(args: &EditArgs, session: &mut Session<'_>) -> Result<(), Error> {
    args.write.certain(&args.service, session).await?;
    let now = present(&args.service, session).await?;
    let (namespace, name) = session.place(&args.service);
    args.write.check(&session.shown(&namespace, &name), Some(&now))?;
    let text = yaml(&Document::of(&of(&now)).map_err(PrintError::from)?)?;
    let file = written(&text, &args.service)?;
    let path = file.path().to_owned();
    let opened = open(&path, &args.service);
    let saved = match std::fs::read(&path) {
        Ok(saved) => saved,
        Err(error) => {
            opened?;
            let what = format!("what was edited is gone: {}: {error}; nothing was changed", path.display());
            return Err(Error::failed(what, "an editor that saves the file in its place"));
        }
    };
    if saved == text.as_bytes() {
        opened?;
        return unchanged(args, &now, session).await;
    }
    // The file outlives this process from here on, until what it says is registered.
    let kept = file.into_temp_path().keep();
    let done = match opened {
        Ok(()) => Box::pin(save(args, &path, &now, session)).await,
        Err(error) => Err(error),
    };
    if done.is_ok() {
        // A file too many harms nobody.
        let _ = std::fs::remove_file(&path);
    } else if kept.is_ok() {
        say(&format!("what was edited is kept in {}", path.display()));
    }
    done
}

/// Nothing was edited. What had been registered may not be in force yet.
async fn unchanged(args: &EditArgs, now: &v1::IsolatedService, session: &Session<'_>) -> Result<(), Error> {
    let (namespace, service) = session.place(&args.service);
    let name = session.shown(&namespace, &service);
    match args.write.await_instances((namespace, service), now.revision, Subject::Policy, session).await? {
        None => say("nothing was changed"),
        Some(Ok(waited)) => say(&format!("nothing was changed, {waited}")),
        Some(Err(why)) => {
            return Err(Error::degraded(
                format!("{name}: nothing was changed; {why}"),
                format!("cofferdam wait {name}"),
            ));
        }
    }
    Ok(())
}

fn written(text: &str, service: &ServiceName) -> Result<NamedTempFile, Error> {
    let write = || -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix("cofferdam-").suffix(".yaml").tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        Ok(file)
    };
    write().map_err(|error| {
        let folder = env::temp_dir();
        let what = format!("no file to edit can be made in {}: {error}", folder.display());
        Error::failed(what, format!("TMPDIR=FOLDER cofferdam edit {service}"))
    })
}

async fn save(args: &EditArgs, path: &Path, now: &v1::IsolatedService, session: &mut Session<'_>) -> Result<(), Error> {
    let manifest = match load(&[path.to_owned()], session)?.as_slice() {
        [manifest] => manifest.clone(),
        _ => {
            return Err(Error::usage(
                "one service was to be edited, and the file has several",
                "cofferdam apply -f FILE",
            ));
        }
    };
    let same = now.service.as_ref().is_some_and(|was| (was.namespace.clone(), was.name.clone()) == manifest.key());
    if !same {
        return Err(Error::usage("a service keeps its name when it is edited", "cofferdam apply -f FILE"));
    }
    if args.write.dry_run {
        let written =
            manifest.written(Some(now)).map_err(|lines| Error::usage(lines.join("\n"), "cofferdam edit again"))?;
        let difference = manifest.difference(Some(now), &written).map_err(PrintError::from)?;
        difference.iter().try_for_each(|change| writeln!(session.out, "{change}"))?;
        return Ok(session.out.flush()?);
    }
    let request = v1::RegisterServiceRequest {
        expected_revision: args.write.expected().or(now.revision),
        request_id: request_id(),
        reason: args.write.reason.clone(),
        ..manifest.request
    };
    let answer = match session.client.call(request).await {
        Err(error) if error.reason() == "REVISION_MISMATCH" => return Err(overtaken(args, path, now, session).await?),
        answer => answer?,
    };
    if session.format.is_document() {
        session.document(&answer)?;
    }
    report(&args.write, Some(now), answer.service, session).await
}

/// What somebody else changed while the editor was open, and how to go on without undoing it.
async fn overtaken(
    args: &EditArgs,
    path: &Path,
    now: &v1::IsolatedService,
    session: &Session<'_>,
) -> Result<Error, Error> {
    let other = before(&args.service, session).await?;
    let (namespace, name) = session.place(&args.service);
    let name = session.shown(&namespace, &name);
    let Some(other) = other else {
        let what = format!("{name} was unregistered while it was edited; nothing was changed");
        return Ok(Error::failed(what, format!("cofferdam history {name}")));
    };
    let number = |isolated: &v1::IsolatedService| isolated.revision.unwrap_or_default().revision;
    let changes = difference(Some(now), &other).map_err(PrintError::from)?;
    let list: String = changes.iter().map(|change| format!("\n  {change}")).collect();
    let what = format!(
        "{name} was changed while it was edited, revision {} -> {}; nothing of the edit was written. The other change:{}",
        number(now),
        number(&other),
        if list.is_empty() { "\n  nothing of service and policy".to_owned() } else { list }
    );
    let mend = format!(
        "cofferdam edit {name}, which begins with the other change (cofferdam diff -f {} shows what the kept file would undo)",
        path.display()
    );
    Ok(Error::failed(what, mend))
}

fn open(path: &Path, service: &ServiceName) -> Result<(), Error> {
    let named =
        ["VISUAL", "EDITOR"].iter().find_map(|name| env::var(name).ok().filter(|editor| !editor.trim().is_empty()));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    // As a shell takes it, for editors come with arguments.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::failed(
            format!("{editor} ended with {status}; nothing was registered"),
            format!("EDITOR=nano cofferdam edit {service}"),
        )),
        Err(error) => Err(Error::failed(
            format!("{editor} cannot be started: {error}"),
            format!("EDITOR=nano cofferdam edit {service}"),
        )),
    }
}
