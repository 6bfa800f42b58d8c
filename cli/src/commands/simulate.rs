//! `cofferdam simulate`: what a policy would have made of calls that were recorded, without a manager and without waiting.
//!
//! The calls go through the engine itself, on virtual time: what is printed is what an SDK would have done. The trace stands for
//! the service: a call's first attempt meets what was recorded of it, a later one what the service did last before that moment.

mod clock;
mod report;
mod trace;
mod world;

use self::report::Report;
use self::trace::Trace;
use super::Error;
use crate::files;
use crate::message::{Fault, read};
use crate::output::{PrintError, Style};
use clap::{Args, ValueEnum};
use cofferdam_core::policy::Policy;
use cofferdam_core::wire::effective_policy;
use cofferdam_proto::v1;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many happenings people are told where they do not say how many.
const LIMIT: usize = 100;

pub(super) const HELP: &str = "\
A policy is a document as `export` prints it, or what stands under its `policy`. A trace is a line of JSON for each call:
  {\"at\": \"1.5s\", \"method\": \"shop.Pay/Get\", \"latency\": \"20ms\", \"code\": \"UNAVAILABLE\", \"idempotent\": true}
or CSV with a line of names: at,latency,code,method. See docs/simulate.md.

Examples:
  cofferdam simulate policy.yaml calls.jsonl
  cofferdam simulate policy.yaml calls.csv --against stricter.yaml
  cofferdam simulate policy.yaml calls.jsonl -o json | jq '.runs[0].rejected'";

/// What to try on what.
#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The policy, in YAML or JSON; - is the standard input
    policy: PathBuf,
    /// The recorded calls, in JSON lines or CSV
    trace: PathBuf,
    /// Another policy, to be compared with the first
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// What pauses and open times that are spread at random are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many transitions and rejections are told one by one [default: 100, in documents all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How it is printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For programs
    Json,
    /// The same as YAML
    Yaml,
}

/// Does it.
pub(super) fn run(args: &SimulateArgs, style: Style, out: &mut dyn Write) -> Result<(), Error> {
    let first = policy(&args.policy)?;
    let second = args.against.as_deref().map(policy).transpose()?;
    let bytes = files::bytes(&args.trace).map_err(|error| wrong(error.to_string()))?;
    let trace = Trace::read(&bytes).map_err(|fault| wrong(format!("{}: {fault}", args.trace.display())))?;
    let trace = Arc::new(trace);
    let report = world::run(first, &trace, args.seed);
    let second = second.map(|second| world::run(second, &trace, args.seed));
    let (one, other) = (name(&args.policy), args.against.as_deref().map(name).unwrap_or_default());
    let limit = args.limit.unwrap_or(LIMIT);
    match (second, args.output) {
        (None, Form::Table) => {
            report.tell(limit, style, out)?;
            report.totals().print(out, style)?;
        }
        (Some(second), Form::Table) => {
            report.tell(limit, style, out)?;
            writeln!(out)?;
            writeln!(out, "{other}")?;
            second.tell(limit, style, out)?;
            Report::compare((&one, &report), (&other, &second)).print(out, style)?;
        }
        (second, form) => {
            let limit = args.limit.unwrap_or(usize::MAX);
            let second = second.map(|second| second.document(&other, limit));
            let runs: Vec<_> = [report.document(&one, limit)].into_iter().chain(second).collect();
            out.write_all(document(&json!({"seed": args.seed, "runs": runs}), form)?.as_bytes())?;
        }
    }
    Ok(out.flush()?)
}

fn document(value: &Value, form: Form) -> Result<String, PrintError> {
    let text = match form {
        Form::Yaml => serde_saphyr::to_string(value).map_err(|error| error.to_string()),
        Form::Json | Form::Table => serde_json::to_string_pretty(value).map_err(|error| error.to_string()),
    };
    text.map(|text| format!("{}\n", text.trim_end())).map_err(PrintError::Document)
}

fn wrong(what: String) -> Error {
    Error::usage(what, "cofferdam simulate --help")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The policy that a file says.
fn policy(path: &Path) -> Result<Policy, Error> {
    let at = |fault: Fault| wrong(format!("{}: {fault}", path.display()));
    let mut documents = files::documents(path).map_err(|error| wrong(error.to_string()))?;
    let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
        return Err(wrong(format!("{}: must hold one policy", path.display())));
    };
    let is_service = document.get("service").is_some();
    let written = if is_service {
        let request: v1::RegisterServiceRequest = read(document).map_err(at)?;
        let mut policy = request.policy.unwrap_or_default();
        if request.level != 0 {
            policy.level = request.level;
        }
        policy
    } else {
        read::<v1::IsolationPolicy>(document).map_err(at)?
    };
    effective_policy(&written).map_err(|invalid| wrong(format!("{}: {invalid}", path.display())))
}
