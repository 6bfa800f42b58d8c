use super::Patience;
use crate::output::printable;
use std::collections::HashMap;
use std::fmt;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call brought no answer. Shown in one line that says what is wrong, one for each field at fault, and one with what
/// mends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The address is none that can be dialled.
    #[error("{server:?} is no address of a manager: {why}\ntry: --server http://127.0.0.1:7420")]
    BadServer {
        /// The address.
        server: String,
        /// Why.
        why: String,
    },
    /// No connection can be made.
    #[error("no manager answers at {server}: {why}\ntry: cofferdam serve (or name another one with --server)")]
    Unreachable {
        /// Where.
        server: String,
        /// The system's own words.
        why: String,
    },
    /// The answer did not come in time.
    #[error(
        "{server} did not answer {rpc} within {within}\ntry: more time with --timeout, or another --server where that is no manager"
    )]
    NoAnswer {
        /// Where.
        server: String,
        /// What was asked.
        rpc: &'static str,
        /// How long was waited.
        within: Patience,
    },
    /// Something is there, and has not answered as a manager does.
    #[error(
        "{server} answers, but not as a Cofferdam manager: {why}\ntry: another --server, or cofferdam version where that is a manager of another release"
    )]
    NoManager {
        /// Where.
        server: String,
        /// What it did in place of it, with its own words.
        why: String,
    },
    /// The connection to a manager broke under the call; whether it was done is not known.
    #[error("the manager at {server} went away under {rpc} ({why})\ntry: the same again, or cofferdam check")]
    Broke {
        /// Where.
        server: String,
        /// What was asked.
        rpc: &'static str,
        /// The system's own words.
        why: String,
    },
    /// The manager said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
}

/// A manager's refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Refusal {
    /// What was refused.
    pub(crate) rpc: &'static str,
    /// Of which service, as it can be typed. Empty: of none, or of several.
    pub(crate) subject: String,
    /// The status code.
    pub(crate) code: Code,
    /// The manager's own words.
    pub(crate) message: String,
    /// A name of `ErrorReason`, without its prefix. Empty: the manager gave none.
    pub(crate) reason: String,
    /// What belongs to the reason.
    pub(crate) metadata: HashMap<String, String>,
    /// Fields at fault, by path, with what is wrong.
    pub(crate) fields: Vec<(String, String)>,
}

impl CallError {
    /// The reason of a refusal. Empty: it is none, or has none.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.reason,
            _ => "",
        }
    }

    /// What is wrong, in a line, for a command that goes on by itself: what mends it is left out.
    pub(crate) fn in_a_line(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}

impl Refusal {
    /// What a status says. It is for people to read, in whole or in part, and never for a terminal to obey: an upstream may
    /// have written it.
    pub(super) fn of(rpc: &'static str, subject: String, status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) =
            details.error_info().map(|info| (info.reason.clone(), info.metadata.clone())).unwrap_or_default();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        Self {
            rpc,
            subject,
            code: status.code(),
            message: if reason.starts_with("REVISION_") {
                without_rpc(&safe(status.message()))
            } else {
                safe(status.message())
            },
            reason,
            metadata: metadata.into_iter().map(|(key, value)| (key, safe(&value))).collect(),
            fields: violations.into_iter().map(|one| (safe(&one.field), safe(&one.description))).collect(),
        }
    }

    fn told(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", String::as_str)
    }

    /// The registered name that is most like the one that is not.
    pub(crate) fn nearest(&self) -> Option<&str> {
        self.told("nearest").split(',').next().filter(|name| !name.is_empty())
    }

    fn mend(&self) -> Option<String> {
        let service = if self.subject.is_empty() { "SERVICE" } else { self.subject.as_str() };
        let mend = match self.reason.as_str() {
            "SERVICE_NOT_FOUND" => format!("cofferdam get services -n {}", self.told("namespace")),
            "REVISION_MISMATCH" => format!("cofferdam history {service}, which shows what the other change was"),
            "REVISION_UNKNOWN" | "REVISION_NOT_KEPT" => {
                format!("cofferdam history {service}, which lists its revisions")
            }
            "BULK_CHANGE_UNDER_WAY" => "cofferdam events, which shows what is put back".to_owned(),
            "HOLD_NOT_FOUND" => format!("cofferdam describe service {service}, which shows its holds"),
            "QUOTA_EXCEEDED" if self.told("quota") == "services" => "cofferdam get services -A".to_owned(),
            "QUOTA_EXCEEDED" if self.told("quota") == "store" => "again, when the store has room".to_owned(),
            "QUOTA_EXCEEDED" => format!("cofferdam describe service {service}, which shows what it has"),
            "STORE_UNAVAILABLE" | "STORE_OUTCOME_UNKNOWN" | "SHUTTING_DOWN" => {
                "cofferdam check, and then again".to_owned()
            }
            "INSTANCE_NOT_FOUND" => "cofferdam get clients".to_owned(),
            "POOL_NOT_FOUND" => "one of its pools, or none".to_owned(),
            "CIRCUIT_OPEN" if self.told("receipt").is_empty() => "cofferdam get services".to_owned(),
            "CIRCUIT_OPEN" => {
                let receipt = self.told("receipt").replace('\'', r"'\''");
                format!("cofferdam explain {}/{} --receipt '{receipt}'", self.told("namespace"), self.told("service"))
            }
            "SERVICE_IN_USE" => format!("cofferdam describe service {}", self.told("services").split(',').next()?),
            "UPSTREAM" => format!("cofferdam describe service {service}, and the service's own log"),
            "NO_ENDPOINT" => format!("cofferdam register {service} --endpoint HOST:PORT"),
            "ENDPOINT_NOT_ALLOWED" => {
                format!(
                    "cofferdam register {service} --endpoint 127.0.0.1:PORT (a manager dials its own machine alone)"
                )
            }
            "" if self.code == Code::Unimplemented => {
                "cofferdam version (the manager may be of another release)".to_owned()
            }
            _ if !self.fields.is_empty() => "the same with what it says, or --help".to_owned(),
            _ => "cofferdam check".to_owned(),
        };
        Some(mend)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fields.as_slice() {
            [] if self.reason == "UPSTREAM" => {
                write!(f, "the call of the service failed with {:?}: {}", self.code, self.message)?;
            }
            [] if self.message.is_empty() => write!(f, "{} was refused: {:?}", self.rpc, self.code)?,
            [] => f.write_str(&self.message)?,
            [_] => write!(f, "{} was refused: a field is wrong", self.rpc)?,
            fields => write!(f, "{} was refused: {} fields are wrong", self.rpc, fields.len())?,
        }
        for (path, description) in &self.fields {
            write!(f, "\n  {}: {description}", if path.is_empty() { "the request" } else { path })?;
        }
        match self.mend() {
            Some(mend) => write!(f, "\ntry: {mend}"),
            None => Ok(()),
        }
    }
}

/// What lies at the bottom of an error: the system's own words, such as "Connection refused".
pub(super) fn innermost(status: &Status) -> String {
    let mut innermost: &dyn std::error::Error = status;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if innermost.source().is_none() && innermost.is::<Status>() {
        return safe(status.message());
    }
    safe(&innermost.to_string())
}

/// A manager's words about revisions without the RPC that lists them: that is said behind them, as a command.
fn without_rpc(message: &str) -> String {
    message.replace(", ListRevisions lists them", "")
}

fn safe(text: &str) -> String {
    printable(text).into_owned()
}
