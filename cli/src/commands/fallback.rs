//! `cofferdam fallback`.

use super::Error;
use super::session::{Common, ServiceName, Session, span};
use super::write::{WriteArgs, before, dry_run, invalid_policy, present, report, request_id};
use crate::files;
use crate::message::read;
use clap::{Args, Subcommand};
use cofferdam_core::wire::apply_fallback_config;
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const HELP: &str = "\
Steps are tried in the order in which they are given, and replace those that there are:
  static=TEXT or static=@FILE   a fixed answer; what begins like JSON is sent as application/json
  cached or cached=TTL          the last good answer
  alternative=NAME or =NAME:METHOD   another service
  degraded=FEATURE,FEATURE      what still works

Examples:
  cofferdam fallback set payments --step cached=5m --step 'static={\"status\": \"pending\"}' --max-retries 3
  cofferdam fallback set payments --step alternative=backup-service:getData --call-timeout 30s
  cofferdam fallback set payments --file fallback.json";

/// What to do with a fallback.
#[derive(Debug, Subcommand)]
pub(crate) enum FallbackCommand {
    /// Change the fallback of a service, and the retries and timeout around it.
    #[command(after_help = HELP)]
    Set(SetArgs),
}

/// A way to answer.
#[derive(Clone, Debug, PartialEq)]
struct Step(Strategy);

/// What to change. What is not said stays as it is.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// The service
    service: ServiceName,
    /// A step of the chain; may be given up to four times
    #[arg(long, value_name = "KIND[=VALUE]", conflicts_with = "file")]
    step: Vec<Step>,
    /// Whether the chain is used
    #[arg(long, value_name = "BOOL", conflicts_with = "file")]
    enabled: Option<bool>,
    /// Attempts after the first
    #[arg(long, value_name = "N", conflicts_with = "file")]
    max_retries: Option<u32>,
    /// Pause before the first retry
    #[arg(long, value_name = "TIME", value_parser = span, conflicts_with = "file")]
    retry_delay: Option<Duration>,
    /// How long a whole call may take
    #[arg(long, alias = "timeout-call", value_name = "TIME", value_parser = span, conflicts_with = "file")]
    call_timeout: Option<Duration>,
    /// Whether the circuit breaker is used
    #[arg(long, value_name = "BOOL", conflicts_with = "file")]
    circuit_breaker: Option<bool>,
    /// A FallbackConfig in YAML or JSON; - is the standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    write: WriteArgs,
}

impl FallbackCommand {
    /// The flags that every command has.
    pub(super) const fn common(&self) -> &Common {
        let Self::Set(args) = self;
        &args.write.common
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once('=').unwrap_or((text, ""));
        let strategy = match (kind, value) {
            ("static", value) => {
                let payload = match value.strip_prefix('@') {
                    Some(path) => files::bytes(Path::new(path)).map_err(|error| error.to_string())?,
                    None => value.as_bytes().to_vec(),
                };
                let is_json = serde_json::from_slice::<serde_json::Value>(&payload).is_ok();
                let content_type = if is_json { "application/json".to_owned() } else { String::new() };
                Strategy::Static(v1::StaticFallback { payload: payload.into(), content_type })
            }
            ("cached", ttl) => {
                let ttl = match ttl {
                    "" => None,
                    ttl => Some(humantime::parse_duration(ttl).map_err(|error| format!("{ttl}: {error}"))?),
                };
                let ttl = ttl.map(prost_types::Duration::try_from).transpose().map_err(|error| error.to_string())?;
                Strategy::Cached(v1::CachedFallback { ttl, ..Default::default() })
            }
            ("alternative", value) if !value.is_empty() => {
                let (service, method) = value.split_once(':').unwrap_or((value, ""));
                let (service, method) = (service.to_owned(), method.to_owned());
                Strategy::Alternative(v1::AlternativeFallback { service, method, timeout: None })
            }
            ("degraded", value) => {
                let features = value.split(',').filter(|feature| !feature.is_empty()).map(str::to_owned).collect();
                Strategy::Degraded(v1::DegradedFallback { features, reason: String::new() })
            }
            _ => return Err("must be static=TEXT, cached[=TTL], alternative=NAME or degraded=FEATURE,...".to_owned()),
        };
        Ok(Self(strategy))
    }
}

/// Does it.
pub(super) async fn run(command: &FallbackCommand, session: &mut Session<'_>) -> Result<(), Error> {
    let FallbackCommand::Set(args) = command;
    let config = config(args)?;
    args.write.certain(&args.service, session).await?;
    let (namespace, service) = session.place(&args.service);
    if args.write.dry_run {
        let name = session.shown(&namespace, &service);
        let now = present(&args.service, session).await?;
        let mut after = now.clone();
        apply_fallback_config(after.written_policy.get_or_insert_default(), &config)
            .map_err(|invalid| invalid_policy(&name, &invalid))?;
        return dry_run(&name, &args.write, Some(&now), &after, session);
    }
    let was = before(&args.service, session).await?;
    let request = v1::UpdateFallbackConfigRequest {
        namespace,
        service,
        fallback: Some(config),
        expected_revision: args.write.expected(),
        request_id: request_id(),
        reason: args.write.reason.clone(),
    };
    let answer = session.client.call(request).await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    report(&args.write, was.as_ref(), answer.service, session).await
}

fn config(args: &SetArgs) -> Result<v1::FallbackConfig, Error> {
    let bad = |what: String| Error::usage(what, "cofferdam fallback set --help");
    if let Some(path) = &args.file {
        let value = files::document(path).map_err(|error| bad(error.to_string()))?;
        return read(value).map_err(|fault| bad(format!("{}: {fault}", path.display())));
    }
    let time = |time: Option<Duration>| {
        time.map(prost_types::Duration::try_from).transpose().map_err(|error| bad(error.to_string()))
    };
    let config = v1::FallbackConfig {
        enabled: args.enabled,
        chain: args.step.iter().map(|step| v1::FallbackStep { strategy: Some(step.0.clone()) }).collect(),
        max_retries: args.max_retries,
        retry_delay: time(args.retry_delay)?,
        timeout: time(args.call_timeout)?,
        circuit_breaker: args.circuit_breaker,
    };
    if config == v1::FallbackConfig::default() {
        return Err(bad("nothing is said that is to change".to_owned()));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_kind_and_what_it_takes() {
        let step = |text: &str| text.parse::<Step>().map(|step| step.0);
        let Ok(Strategy::Static(fixed)) = step("static={\"a\": 1}") else { panic!() };
        assert_eq!((&fixed.payload[..], fixed.content_type.as_str()), (&b"{\"a\": 1}"[..], "application/json"));
        let Ok(Strategy::Static(fixed)) = step("static=a=b") else { panic!() };
        assert_eq!((&fixed.payload[..], fixed.content_type.as_str()), (&b"a=b"[..], ""));
        let Ok(Strategy::Cached(cached)) = step("cached=5m") else { panic!() };
        assert_eq!(cached.ttl.map(|ttl| ttl.seconds), Some(300));
        let Ok(Strategy::Alternative(other)) = step("alternative=backup-service:getData") else { panic!() };
        assert_eq!((other.service.as_str(), other.method.as_str()), ("backup-service", "getData"));
        let Ok(Strategy::Degraded(degraded)) = step("degraded=basic_functionality") else { panic!() };
        assert_eq!(degraded.features, ["basic_functionality"]);
        for text in ["", "mock", "alternative", "alternative=", "cached=soon", "static=@/nowhere"] {
            assert!(step(text).is_err(), "{text:?}");
        }
    }
}
