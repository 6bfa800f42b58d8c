//! `cofferdam set-level`.

use super::Error;
use super::ordered;
use super::session::{ServiceName, Session, span};
use super::write::{WriteArgs, before, dry_run, present, report_as, request_id};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1;
use std::time::Duration;

pub(super) const HELP: &str = "\
Examples:
  cofferdam set-level payments full --wait
  cofferdam set-level payments auto --dry-run
  cofferdam set-level payments none --for 30m --reason 'trial'
  cofferdam set-level payments none --dry-run";

/// Which sections of a policy are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Calls are counted, nothing else happens
    None,
    /// Timeout and fallback
    Basic,
    /// And circuit breaker, retry and alternative fallback
    Enhanced,
    /// And bulkhead, rate limit, adaptive limit, hedging and ramp-up
    Full,
    /// The least that has in force what the policy states; it follows each change of that
    Auto,
}

impl From<Level> for v1::IsolationLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::None => Self::None,
            Level::Basic => Self::Basic,
            Level::Enhanced => Self::Enhanced,
            Level::Full => Self::Full,
            Level::Auto => Self::Auto,
        }
    }
}

/// Which level for which service.
#[derive(Args, Debug)]
pub(crate) struct SetLevelArgs {
    /// The service
    service: ServiceName,
    /// The level
    #[arg(value_enum)]
    level: Level,
    /// How long it is in force; then the level before is, whether the manager is there or not [default: until it is changed]
    #[arg(long = "for", value_name = "TIME", value_parser = span, conflicts_with = "dry_run")]
    lasting: Option<Duration>,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Does it.
pub(super) async fn run(args: &SetLevelArgs, session: &mut Session<'_>) -> Result<(), Error> {
    args.write.certain(&args.service, session).await?;
    let level = v1::IsolationLevel::from(args.level);
    if args.write.dry_run {
        let now = present(&args.service, session).await?;
        let mut after = now.clone();
        after.written_policy.get_or_insert_default().set_level(level);
        after.temporary_level = None;
        let (namespace, name) = session.place(&args.service);
        return dry_run(&session.shown(&namespace, &name), &args.write, Some(&now), &after, session);
    }
    let was = before(&args.service, session).await?;
    let (namespace, service) = session.place(&args.service);
    let answer = session
        .client
        .call(v1::SetIsolationLevelRequest {
            namespace,
            service,
            level: level.into(),
            expected_revision: args.write.expected(),
            request_id: request_id(),
            reason: args.write.reason.clone(),
            ttl: args.lasting.and_then(|lasting| lasting.try_into().ok()),
        })
        .await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    let what = answer.service.as_ref().map(|after| ordered::level_set(was.as_ref(), after)).unwrap_or_default();
    report_as(&what, &args.write, was.as_ref(), answer.service, session).await
}
