use super::super::Error;
use super::super::session::{ALL_NAMESPACES, Common, ServiceName, Session};
use super::manifest::of;
use crate::output::{Format, document, say};
use clap::Args;
use cofferdam_proto::v1;

pub(in crate::commands) const HELP: &str = "\
Examples:
  cofferdam export > services.yaml
  cofferdam export --all > everything.yaml
  cofferdam export payments -o json";

/// What to export.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Only these services
    #[arg(conflicts_with = "all")]
    services: Vec<ServiceName>,
    /// Every namespace
    #[arg(long, short = 'A')]
    all: bool,
    #[command(flatten)]
    pub(in crate::commands) common: Common,
}

/// Prints services as files that `apply` takes.
pub(in crate::commands) async fn run(args: &ExportArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let found = if args.services.is_empty() {
        let namespace = if args.all { ALL_NAMESPACES } else { &session.namespace };
        session.client.services(namespace, &["service", "written_policy"]).await?.services
    } else {
        let mut found = Vec::new();
        for service in &args.services {
            found.extend(session.info(service).await?.service);
        }
        found
    };
    if found.is_empty() {
        say("no service is registered there");
    }
    let format = if session.format == Format::Json { Format::Json } else { Format::Yaml };
    for isolated in &found {
        if session.format == Format::Name {
            let service = isolated.service.clone().unwrap_or_default();
            let name = session.shown(&service.namespace, &service.name);
            writeln!(session.out, "{name}")?;
            continue;
        }
        let request: v1::RegisterServiceRequest = of(isolated);
        document(session.out, format, &request)?;
    }
    Ok(())
}
