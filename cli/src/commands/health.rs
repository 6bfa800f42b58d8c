//! `cofferdam health`.

use super::Error;
use super::session::{Common, ServiceName, Session};
use super::write::request_id;
use crate::message::short_name;
use crate::output::Format;
use clap::{Args, Subcommand, ValueEnum};
use cofferdam_proto::v1;

const HELP: &str = "\
Examples:
  cofferdam health set payments degraded --message 'High latency detected'
  cofferdam health set payments healthy";

/// What to do with the health of a service.
#[derive(Debug, Subcommand)]
pub(crate) enum HealthCommand {
    /// Report how a service does.
    #[command(after_help = HELP)]
    Set(SetArgs),
}

/// How a service can be reported to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// It works
    Healthy,
    /// It works with errors
    Degraded,
    /// It does not work well enough to be used
    Unhealthy,
}

/// How which service does.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// The service
    service: ServiceName,
    /// Its health
    #[arg(value_enum)]
    status: Status,
    /// Why, for people
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    message: String,
    #[command(flatten)]
    common: Common,
}

impl HealthCommand {
    /// The flags that every command has.
    pub(super) const fn common(&self) -> &Common {
        let Self::Set(args) = self;
        &args.common
    }
}

/// Does it.
pub(super) async fn run(command: &HealthCommand, session: &mut Session<'_>) -> Result<(), Error> {
    let HealthCommand::Set(args) = command;
    let (namespace, service) = session.place(&args.service);
    let name = session.shown(&namespace, &service);
    let status = match args.status {
        Status::Healthy => v1::HealthStatus::Healthy,
        Status::Degraded => v1::HealthStatus::Degraded,
        Status::Unhealthy => v1::HealthStatus::Unhealthy,
    };
    let health = v1::ServiceHealth { status: status.into(), message: args.message.clone(), observe_time: None };
    let request = v1::UpdateServiceHealthRequest { namespace, service, health: Some(health), request_id: request_id() };
    let answer = session.client.call(request).await?;
    let now = answer.health.as_ref().map_or(v1::HealthStatus::Unspecified, v1::ServiceHealth::status);
    match session.format {
        Format::Json | Format::Yaml => session.document(&answer)?,
        Format::Name => writeln!(session.out, "{name}")?,
        Format::Table | Format::Wide => {
            let short = |status: v1::HealthStatus| short_name(status.as_str_name(), "HEALTH_STATUS_");
            let revision = answer.revision.unwrap_or_default().revision;
            writeln!(
                session.out,
                "{name}: reported {}, health {}, stored at revision {revision}",
                short(status),
                short(now)
            )?;
        }
    }
    Ok(session.out.flush()?)
}
