use super::super::Error;
use super::super::session::{Common, Session};
use super::apply::{plan, show};
use super::manifest::load;
use clap::Args;
use std::path::PathBuf;

pub(in crate::commands) const HELP: &str = "\
Exit codes: 0 everything is as the files say, 3 something is not.

Examples:
  cofferdam diff -f services.yaml
  cofferdam export | cofferdam diff -f - -s http://staging:7420";

/// What to compare.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// As with `apply`
    #[arg(long, short, value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    #[command(flatten)]
    pub(in crate::commands) common: Common,
}

/// Prints what `apply` would change.
pub(in crate::commands) async fn run(args: &DiffArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let steps = plan(load(&args.file, session)?, session).await?;
    let differing: Vec<_> = steps.iter().filter(|step| step.before.is_none() || !step.changes.is_empty()).collect();
    differing.iter().try_for_each(|step| show(step, session))?;
    session.out.flush()?;
    match differing.len() {
        0 => Ok(()),
        count => Err(Error::Degraded(format!(
            "{count} of {} services are not as the files say\ntry: cofferdam apply -f FILE",
            steps.len()
        ))),
    }
}
