//! `cofferdam import`: what other libraries are configured with, as documents that `apply` takes.
//!
//! Nothing is guessed in silence: an option that has no counterpart is named on the standard error, and a value that makes no
//! sense is refused. What the other library does by default is written out, so that the behaviour comes along and not only
//! the numbers that somebody had typed.

mod opossum;
mod resilience4j;
mod seed_json;
mod sentinel;
mod spring;
mod values;

use self::values::{Import, service_name};
use super::Error;
use super::session::ServiceName;
use crate::files;
use crate::message::{Fault, read};
use crate::output::{Format, document, printable, say};
use clap::{Args, ValueEnum};
use cofferdam_core::wire::effective_policy;
use cofferdam_proto::v1;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

pub(super) const HELP: &str = "\
Examples:
  cofferdam import opossum options.json --service payments
  cofferdam import resilience4j application.yaml | cofferdam apply -f -
  cofferdam import sentinel rules.json | cofferdam diff -f -
  cofferdam import seed-json fallback.json --service test-service";

/// What is said of a file of Java properties.
const PROPERTIES: &str = "properties are not read: write them as YAML, where keys with dots may stay as they are";

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// A fallback configuration: enabled, strategy, max_retries, retry_delay, timeout, circuit_breaker, fallback_data
    SeedJson,
    /// Options of opossum's CircuitBreaker, for Node
    Opossum,
    /// Spring configuration of resilience4j, with its instances
    Resilience4j,
    /// Flow and degrade rules of Sentinel
    Sentinel,
}

/// What to import.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Whose configuration it is
    #[arg(value_enum)]
    source: Source,
    /// The file, in JSON or YAML; - is the standard input
    file: PathBuf,
    /// The service, where the file does not name it: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    service: Option<ServiceName>,
    /// How it is printed: json or yaml
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

/// Prints policies.
pub(super) fn run(args: &ImportArgs, out: &mut dyn Write) -> Result<(), Error> {
    let bad = |what: String| Error::usage(printable(&what), "cofferdam import --help");
    let path = args.file.display();
    if args.source == Source::Resilience4j
        && args.file.extension().is_some_and(|own| own.eq_ignore_ascii_case("properties"))
    {
        return Err(bad(format!("{path}: {PROPERTIES}")));
    }
    let value = match args.source {
        Source::Resilience4j => files::documents(&args.file).map(Value::Array),
        _ => files::document(&args.file),
    };
    let value = value.map_err(|error| bad(error.to_string()))?;
    let (namespace, name) = args.service.as_ref().map(ServiceName::parts).unzip();
    let imports = convert(args.source, value, name).map_err(|fault| bad(format!("{path}: {fault}")))?;
    // All are made before the first is printed: half of a file would be applied by the other end of a pipe.
    let requests: Vec<_> = imports
        .into_iter()
        .map(|import| {
            import.notes.iter().for_each(|note| say(&format!("{}: {note}", import.service)));
            let mut request = request(import).map_err(|fault| bad(format!("{path}: {fault}")))?;
            if let (Some(Some(namespace)), Some(service)) = (namespace, &mut request.service) {
                namespace.clone_into(&mut service.namespace);
            }
            Ok(request)
        })
        .collect::<Result<_, Error>>()?;
    let format = if args.output == Format::Json { Format::Json } else { Format::Yaml };
    requests.iter().try_for_each(|request| document(out, format, request))?;
    Ok(())
}

/// What a configuration says of each service.
fn convert(source: Source, value: Value, service: Option<&str>) -> Result<Vec<Import>, Fault> {
    let mut imports = match source {
        Source::SeedJson => seed_json::convert(value, service),
        Source::Opossum => opossum::convert(value, service),
        Source::Resilience4j => resilience4j::convert(value),
        Source::Sentinel => sentinel::convert(value),
    }?;
    let mut known = BTreeMap::new();
    for import in &mut imports {
        let name = service_name(&import.service);
        if let Some(other) = known.insert(name.clone(), import.service.clone()) {
            return Err(Fault::at("", both(&other, &import.service, &name)));
        }
        if name != import.service {
            import.notes.push(format!("it is called {} there, which is no name of a service", import.service));
            import.service = name;
        }
    }
    Ok(imports)
}

/// Two that would be one service: the second would take the place of the first.
fn both(one: &str, other: &str, name: &str) -> String {
    format!("{one} and {other} would both be the service {name}: call one of them otherwise, or import it alone")
}

fn request(import: Import) -> Result<v1::RegisterServiceRequest, Fault> {
    let Import { service, policy, notes: _ } = import;
    let request: v1::RegisterServiceRequest = read(json!({"service": {"name": service}, "policy": policy}))?;
    let policy = request.policy.clone().unwrap_or_default();
    match effective_policy(&policy) {
        Ok(_) => Ok(request),
        Err(invalid) => {
            let first = invalid.violations().first();
            let (path, what) = first.map(|one| (one.path.clone(), one.description.clone())).unwrap_or_default();
            Err(Fault::at(format!("{service}: policy.{path}"), what))
        }
    }
}

#[cfg(test)]
mod tests;
