//! `cofferdam describe`: all that is known of one thing.

mod instance;
mod past;
mod service;

use super::Error;
use super::get::{Window, window};
use super::moment::Moment;
use super::session::{Common, ServiceName, Session};
use clap::{Args, Subcommand};

/// What to describe.
#[derive(Debug, Subcommand)]
pub(crate) enum DescribeCommand {
    /// A service: its policy with the origin of every value, what is not in force, how far it has come, how it does.
    #[command(alias = "services", alias = "svc")]
    Service(ServiceArgs),
    /// An instance: the services that it calls, and where it stands with each.
    #[command(alias = "instances", alias = "client")]
    Instance(InstanceArgs),
}

/// Which service.
#[derive(Args, Debug)]
pub(crate) struct ServiceArgs {
    /// The service
    service: ServiceName,
    /// The figures of the last so long; `all` is since the manager started
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = window)]
    window: Window,
    /// As it was at a revision, a time, or so long ago: 18, 2026-11-22T03:00:00Z, 10m
    #[arg(long, value_name = "REVISION|TIME", conflicts_with = "window")]
    at: Option<Moment>,
    #[command(flatten)]
    common: Common,
}

/// Which instance.
#[derive(Args, Debug)]
pub(crate) struct InstanceArgs {
    /// The instance, by its id
    instance: String,
    #[command(flatten)]
    common: Common,
}

impl DescribeCommand {
    /// The flags that every command has.
    pub(super) const fn common(&self) -> &Common {
        match self {
            Self::Service(args) => &args.common,
            Self::Instance(args) => &args.common,
        }
    }
}

/// Does it.
pub(super) async fn run(command: &DescribeCommand, session: &mut Session<'_>) -> Result<(), Error> {
    match command {
        DescribeCommand::Service(args) => service::run(args, session).await,
        DescribeCommand::Instance(args) => instance::run(args, session).await,
    }
}
