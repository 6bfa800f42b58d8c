use super::super::Error;
use super::super::session::{ServiceName, Session};
use super::super::write::{WriteArgs, present, report, request_id};
use super::manifest::{load, of};
use crate::message::dynamic;
use crate::output::{say, yaml};
use clap::Args;
use cofferdam_proto::v1;
use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

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
    let now = present(&args.service, session).await?;
    let before = of(&now);
    let text = yaml(&dynamic(&before).map_err(crate::output::PrintError::from)?)?;
    let mut file = tempfile::Builder::new().prefix("cofferdam-").suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    open(file.path())?;
    if std::fs::read_to_string(file.path())? == text {
        say("nothing was changed");
        return Ok(());
    }
    let path = file.path().to_owned();
    let done = save(args, &path, &now, session).await;
    if done.is_err()
        && let Ok((_, kept)) = file.keep()
    {
        say(&format!("what was edited is kept in {}", kept.display()));
    }
    done
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
        let written = manifest.written(Some(now)).map_err(|lines| Error::usage(lines.join("\n"), "cofferdam edit again"))?;
        let difference = manifest.difference(Some(now), &written).map_err(crate::output::PrintError::from)?;
        difference.iter().try_for_each(|change| writeln!(session.out, "{change}"))?;
        return Ok(session.out.flush()?);
    }
    let request = v1::RegisterServiceRequest {
        expected_revision: args.write.expected().or(now.revision),
        request_id: request_id(),
        reason: args.write.reason.clone(),
        ..manifest.request
    };
    let answer = session.client.call(request).await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    report(&args.write, Some(now), answer.service, session).await
}

fn open(path: &Path) -> Result<(), Error> {
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
            format!("{editor} ended with {status}; nothing was changed"),
            "EDITOR=nano cofferdam edit SERVICE",
        )),
        Err(error) => {
            Err(Error::failed(format!("{editor} cannot be started: {error}"), "EDITOR=nano cofferdam edit SERVICE"))
        }
    }
}
