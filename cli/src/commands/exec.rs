//! `cofferdam exec`: a call through the manager, isolated by the service's policy.

use super::Error;
use super::session::{Common, ServiceName, Session, span};
use crate::client::CallError;
use crate::files;
use crate::message::short_name;
use crate::output::{Document, Format, age, print_document, say, std_duration};
use clap::Args;
use cofferdam_proto::v1;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const HELP: &str = "\
A manager relays bytes and does not know what they mean. With --descriptors (protoc --descriptor_set_out, buf build -o) the
request is JSON and so is the answer; without, both are bytes as they are.
Exit codes: 0 the service answered, 3 a fallback did, 4 the breaker is open and nobody did, 1 anything else.

Examples:
  cofferdam exec payments shop.Payments/Get --data '{\"id\": 7}' --descriptors shop.binpb
  cofferdam exec test-service test-method --data-raw test-request
  cofferdam exec test-service test-method --data-raw @request.bin -o json";

/// What to call.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// The service
    service: ServiceName,
    /// The method: package.Service/Method, or a name alone for SERVICE/NAME
    method: String,
    /// The request as JSON; @FILE reads it, @- from the standard input
    #[arg(long, short, value_name = "JSON", requires = "descriptors")]
    data: Option<String>,
    /// The request as it is sent; @FILE reads it, @- from the standard input
    #[arg(long, value_name = "BYTES", conflicts_with = "data")]
    data_raw: Option<String>,
    /// What messages of the service look like: a FileDescriptorSet
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// The call may safely run twice
    #[arg(long)]
    idempotent: bool,
    /// The key under which a good answer is cached [default: the request]
    #[arg(long, value_name = "TEXT", default_value = "")]
    cache_key: String,
    /// The pool to run in [default: as the policy says]
    #[arg(long, value_name = "NAME", default_value = "")]
    pool: String,
    /// How long the call may take [default: as the policy says, at most 30s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    call_timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Longer than any call that a manager makes.
const PATIENCE: Duration = Duration::from_secs(35);

/// Does it.
pub(super) async fn run(args: &ExecArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let method = args.descriptors.as_deref().map(|path| method(args, path)).transpose()?;
    let (namespace, service) = session.place(&args.service);
    let request = v1::ExecuteWithIsolationRequest {
        namespace,
        service,
        method: args.method.clone(),
        payload: payload(args, method.as_ref())?.into(),
        timeout: args.call_timeout.and_then(|timeout| timeout.try_into().ok()),
        idempotent: args.idempotent,
        cache_key: args.cache_key.clone(),
        pool: args.pool.clone(),
        ..Default::default()
    };
    let answer = match session.client.call_within(request, PATIENCE).await {
        Err(error @ CallError::Refused(_)) if error.reason() == "CIRCUIT_OPEN" => {
            return Err(Error::Open(error.to_string().lines().map(str::to_owned).collect()));
        }
        answer => answer?,
    };
    if session.format.is_document() {
        session.document(&answer)?;
    } else {
        print(&answer, method.as_ref(), session)?;
    }
    match answer.served_by() {
        v1::ServedBy::Live => Ok(()),
        _ => Err(Error::Degraded(vec![fallback(&answer)])),
    }
}

fn payload(args: &ExecArgs, method: Option<&MethodDescriptor>) -> Result<Vec<u8>, Error> {
    let bad = |what: String| Error::usage(what, "cofferdam exec --help");
    let load = |text: &String| match text.strip_prefix('@') {
        Some(path) => files::bytes(Path::new(path)).map_err(|error| bad(error.to_string())),
        None => Ok(text.clone().into_bytes()),
    };
    match (&args.data, &args.data_raw, method) {
        (Some(data), _, Some(method)) => {
            let bytes = load(data)?;
            let mut json = serde_json::Deserializer::from_slice(&bytes);
            let message = DynamicMessage::deserialize(method.input(), &mut json)
                .map_err(|error| bad(format!("the request is no {}: {error}", method.input().full_name())))?;
            json.end().map_err(|error| bad(format!("the request goes on behind its end: {error}")))?;
            Ok(message.encode_to_vec())
        }
        (_, Some(raw), _) => load(raw),
        _ => Ok(Vec::new()),
    }
}

fn method(args: &ExecArgs, path: &Path) -> Result<MethodDescriptor, Error> {
    let bad = |what: String| Error::usage(what, "cofferdam exec --help");
    let bytes = files::bytes(path).map_err(|error| bad(error.to_string()))?;
    let pool = DescriptorPool::decode(bytes.as_slice())
        .map_err(|error| bad(format!("{}: is no FileDescriptorSet: {error}", path.display())))?;
    let name = args.method.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or(("", name));
    let found = pool.get_service_by_name(service).and_then(|found| found.methods().find(|one| one.name() == method));
    found.ok_or_else(|| bad(format!("{} has no method {name}: it is named package.Service/Method", path.display())))
}

fn print(
    answer: &v1::ExecuteWithIsolationResponse,
    method: Option<&MethodDescriptor>,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    let is_message = answer.content_type == "application/grpc+proto";
    let decoded = method
        .filter(|_| is_message)
        .and_then(|method| DynamicMessage::decode(method.output(), answer.payload.clone()).ok());
    match decoded {
        Some(message) => print_document(session.out, Format::Json, &Document::Whole(message))?,
        None => session.out.write_all(&answer.payload)?,
    }
    let ends_line = answer.payload.is_empty() || answer.payload.ends_with(b"\n");
    if session.is_terminal && !ends_line {
        writeln!(session.out)?;
    }
    Ok(session.out.flush()?)
}

/// Who answered in the service's place, and why.
fn fallback(answer: &v1::ExecuteWithIsolationResponse) -> String {
    let by = short_name(answer.served_by().as_str_name(), "SERVED_BY_");
    let age = match age(std_duration(answer.cache_age)).as_str() {
        "" => String::new(),
        age => format!(", {age} old"),
    };
    if !answer.degraded_features.is_empty() {
        say(&format!("what still works: {}", answer.degraded_features.join(", ")));
    }
    format!("the {by} fallback answered{age}: {}", answer.fallback_reason)
}
