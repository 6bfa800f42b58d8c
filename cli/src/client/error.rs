use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
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
    #[error("{server} did not answer {rpc} within {}\ntry: more time with --timeout, or another --server where that is no manager", humantime::format_duration(*within))]
    NoAnswer {
        /// Where.
        server: String,
        /// What was asked.
        rpc: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// The connection broke under the call; whether it was done is not known.
    #[error(
        "the connection to {server} broke under {rpc}: {why}\ntry: the same again, or another --server where that is no manager"
    )]
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
}

impl Refusal {
    /// What a status says.
    pub(super) fn of(rpc: &'static str, status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, metadata) =
            details.error_info().map(|info| (info.reason.clone(), info.metadata.clone())).unwrap_or_default();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        Self {
            rpc,
            code: status.code(),
            message: status.message().to_owned(),
            reason,
            metadata,
            fields: violations.into_iter().map(|violation| (violation.field, violation.description)).collect(),
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
        let mend = match self.reason.as_str() {
            "SERVICE_NOT_FOUND" => format!("cofferdam get services -n {}", self.told("namespace")),
            "REVISION_MISMATCH" => "cofferdam history SERVICE, which shows what the other change was".to_owned(),
            "REVISION_UNKNOWN" | "REVISION_NOT_KEPT" => {
                "cofferdam history SERVICE, which lists its revisions".to_owned()
            }
            "BULK_CHANGE_UNDER_WAY" => "cofferdam events, which shows what is put back".to_owned(),
            "HOLD_NOT_FOUND" => "cofferdam describe service SERVICE, which shows its holds".to_owned(),
            "QUOTA_EXCEEDED" if self.told("quota") == "services" => "cofferdam get services -A".to_owned(),
            "QUOTA_EXCEEDED" if self.told("quota") == "store" => "again, when the store has room".to_owned(),
            "QUOTA_EXCEEDED" => "cofferdam describe service SERVICE, which shows what it has".to_owned(),
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
            "NO_ENDPOINT" => "cofferdam register SERVICE --endpoint HOST:PORT".to_owned(),
            "ENDPOINT_NOT_ALLOWED" => {
                "cofferdam register SERVICE --endpoint 127.0.0.1:PORT (a manager dials its own machine alone)"
                    .to_owned()
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
            [] if self.message.is_empty() => write!(f, "{} was refused: {:?}", self.rpc, self.code)?,
            [] => f.write_str(self.message.lines().next().unwrap_or_default())?,
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
        return status.message().to_owned();
    }
    innermost.to_string()
}
