//! `cofferdam policy`.

use super::Error;
use super::session::{Common, ServiceName, Session};
use super::write::{WriteArgs, before, dry_run, invalid_policy, present, report, request_id};
use crate::files;
use crate::message::{Assignment, assigned, read};
use clap::{Args, Subcommand};
use cofferdam_core::wire::apply_update;
use cofferdam_proto::v1;
use prost_types::FieldMask;
use std::path::PathBuf;

const HELP: &str = "\
Paths are those of the contract's IsolationPolicy; `cofferdam describe service NAME` lists them with their values. Times have a
unit, enum values go in lower case and without their prefix, sections and lists as JSON. PATH= goes back to the default.

Examples:
  cofferdam policy set payments retry.max_attempts=5 circuit_breaker.open_duration=15s --wait
  cofferdam policy set payments retry.max_attempts= --dry-run
  cofferdam policy set payments 'fallback.chain=[{\"cached\": {\"ttl\": \"5m\"}}]'
  cofferdam policy set payments --file policy.yaml --replace";

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Change fields of a policy, or all of it.
    #[command(after_help = HELP)]
    Set(SetArgs),
}

/// What to change.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// The service
    service: ServiceName,
    /// Fields and their values
    #[arg(value_name = "PATH=VALUE", required_unless_present = "file", conflicts_with = "file")]
    assignments: Vec<Assignment>,
    /// An IsolationPolicy in YAML or JSON, whose sections replace the present ones; - is the standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Sections that the file does not have go back to their defaults
    #[arg(long, requires = "file")]
    replace: bool,
    /// Keep this policy in force even if instances would contain it
    #[arg(long)]
    insist: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl PolicyCommand {
    /// The flags that every command has.
    pub(super) const fn common(&self) -> &Common {
        let Self::Set(args) = self;
        &args.write.common
    }
}

/// Does it.
pub(super) async fn run(command: &PolicyCommand, session: &mut Session<'_>) -> Result<(), Error> {
    let PolicyCommand::Set(args) = command;
    let (policy, mask) = change(args)?;
    args.write.certain(&args.service, session).await?;
    let (namespace, service) = session.place(&args.service);
    if args.write.dry_run {
        let name = session.shown(&namespace, &service);
        let now = present(&args.service, session).await?;
        let mut after = now.clone();
        apply_update(after.written_policy.get_or_insert_default(), &policy, mask.as_ref())
            .map_err(|invalid| invalid_policy(&name, &invalid))?;
        return dry_run(&name, &args.write, Some(&now), &after, session);
    }
    let was = before(&args.service, session).await?;
    let answer = session
        .client
        .call(v1::UpdateIsolationPolicyRequest {
            namespace,
            service,
            policy: Some(policy),
            update_mask: mask,
            expected_revision: args.write.expected(),
            request_id: request_id(),
            reason: args.write.reason.clone(),
            insist: args.insist,
        })
        .await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    report(&args.write, was.as_ref(), answer.service, session).await
}

fn change(args: &SetArgs) -> Result<(v1::IsolationPolicy, Option<FieldMask>), Error> {
    let Some(path) = &args.file else {
        let (policy, mask) = assigned(&args.assignments).map_err(|fault| {
            Error::usage(fault.to_string(), "cofferdam describe service NAME, which lists every path")
        })?;
        return Ok((policy, Some(mask)));
    };
    let bad = |what: String| Error::usage(what, "cofferdam policy set --help");
    let value = files::document(path).map_err(|error| bad(error.to_string()))?;
    let policy = read(value).map_err(|fault| bad(format!("{}: {fault}", path.display())))?;
    let mask = args.replace.then(|| FieldMask { paths: vec!["*".to_owned()] });
    Ok((policy, mask))
}
