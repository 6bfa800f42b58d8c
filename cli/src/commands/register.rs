//! `cofferdam register` and `unregister`.

use super::Error;
use super::level::Level;
use super::session::{ServiceName, Session};
use super::write::{WriteArgs, before, dry_run, present, report, request_id};
use crate::output::{Format, say};
use clap::Args;
use cofferdam_proto::v1;
use cofferdam_server::registry::registered_policy;
use std::str::FromStr;

pub(super) const HELP: &str = "\
What is said here replaces what was registered; a policy that is in force stays, unless --preset brings another one.

Examples:
  cofferdam register payments --endpoint 127.0.0.1:50051 --level enhanced
  cofferdam register orders-db --preset database --depends-on disk --depends-on cache:optional";

/// A service that another one needs: `NAME`, or `NAME:optional`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need(v1::Dependency);

impl FromStr for Need {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, kind) = match text.split_once(':') {
            None => (text, v1::DependencyKind::Critical),
            Some((service, "critical")) => (service, v1::DependencyKind::Critical),
            Some((service, "optional")) => (service, v1::DependencyKind::Optional),
            Some(_) => return Err("must be NAME, NAME:critical or NAME:optional"),
        };
        Ok(Self(v1::Dependency { service: service.to_owned(), kind: kind.into() }))
    }
}

/// A label: `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label(String, String);

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
        Ok(Self(key.to_owned(), value.to_owned()))
    }
}

/// What to register.
#[derive(Args, Debug)]
pub(crate) struct RegisterArgs {
    /// The service
    service: ServiceName,
    /// The version of the contract that it offers
    #[arg(long, value_name = "TEXT", default_value = "")]
    version: String,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Where it listens; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Vec<String>,
    /// A service that it needs, with :optional where it can do without; may be given several times
    #[arg(long, value_name = "NAME")]
    depends_on: Vec<Need>,
    /// A label; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// The level [default: as it is; at first the preset's, else basic]
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Values for what a policy leaves unset: flask-module, database, cache, auth, external-api, stripe or node-db;
    /// replaces the policy
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Register it disabled: every call is rejected
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// What to forget. There is nothing to wait for where a service is gone.
#[derive(Args, Debug)]
#[command(mut_arg("wait", |wait| wait.hide(true)), mut_arg("quorum", |quorum| quorum.hide(true)))]
pub(crate) struct UnregisterArgs {
    /// The service
    service: ServiceName,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Registers.
pub(super) async fn register(args: &RegisterArgs, session: &mut Session<'_>) -> Result<(), Error> {
    args.write.certain(&args.service, session).await?;
    let (namespace, name) = session.place(&args.service);
    let shown = session.shown(&namespace, &name);
    let was = before(&args.service, session).await?;
    let service = v1::Service {
        namespace,
        name,
        version: args.version.clone(),
        description: args.description.clone(),
        endpoints: args.endpoint.iter().map(|address| v1::Endpoint { address: address.clone() }).collect(),
        dependencies: args.depends_on.iter().map(|need| need.0.clone()).collect(),
        labels: args.label.iter().cloned().map(|Label(key, value)| (key, value)).collect(),
        enabled: args.disabled.then_some(false),
    };
    let request = v1::RegisterServiceRequest {
        service: Some(service),
        level: args.level.map_or(0, |level| v1::IsolationLevel::from(level).into()),
        fallback: None,
        policy: args.preset.clone().map(|preset| v1::IsolationPolicy { preset, ..Default::default() }),
        expected_revision: args.write.expected(),
        request_id: request_id(),
        reason: args.write.reason.clone(),
    };
    if args.write.dry_run {
        let written = was.as_ref().map(|was| was.written_policy.clone().unwrap_or_default());
        let written = registered_policy(&request, written.as_ref())
            .map_err(|refused| Error::failed(format!("{shown}: {refused}"), "cofferdam register --help"))?;
        let after = v1::IsolatedService {
            service: request.service,
            written_policy: Some(written),
            temporary_level: was.as_ref().and_then(|was| was.temporary_level.clone()),
            ..Default::default()
        };
        return dry_run(&shown, &args.write, was.as_ref(), &after, session);
    }
    let answer = session.client.call(request).await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    let was = was.filter(|_| !answer.created);
    report(&args.write, was.as_ref(), answer.service, session).await
}

/// Unregisters.
pub(super) async fn unregister(args: &UnregisterArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) = session.place(&args.service);
    let name = session.shown(&namespace, &service);
    if args.write.wait {
        let what = "a service that is gone has nothing to wait for";
        return Err(Error::usage(what, format!("cofferdam unregister {name}")));
    }
    args.write.certain(&args.service, session).await?;
    if args.write.dry_run {
        let now = present(&args.service, session).await?;
        args.write.check(&name, Some(&now))?;
        let revision = now.revision.unwrap_or_default().revision;
        writeln!(session.out, "{name}: would be unregistered, revision {revision}")?;
        say("nothing was changed; instances would go back to their built-in defaults");
        return Ok(session.out.flush()?);
    }
    let request = v1::UnregisterServiceRequest {
        namespace,
        service,
        expected_revision: args.write.expected(),
        request_id: request_id(),
        reason: args.write.reason.clone(),
    };
    let answer = session.client.call(request).await?;
    match session.format {
        Format::Json | Format::Yaml => session.document(&answer)?,
        Format::Name => writeln!(session.out, "{name}")?,
        Format::Table | Format::Wide => {
            let revision = answer.revision.unwrap_or_default().revision;
            writeln!(session.out, "{name}: unregistered, revision {revision}")?;
        }
    }
    Ok(session.out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_and_labels_are_read_from_one_word() {
        let kind = |text: &str| text.parse::<Need>().map(|need| need.0.kind());
        assert_eq!(kind("disk"), Ok(v1::DependencyKind::Critical));
        assert_eq!(kind("cache:optional"), Ok(v1::DependencyKind::Optional));
        assert!(kind("cache:maybe").is_err());
        assert_eq!("a=b=c".parse(), Ok(Label("a".into(), "b=c".into())));
        assert!("a".parse::<Label>().is_err());
    }
}
