//! What an error of etcd-client means: above all, whether the request can have been applied.
//!
//! The list of what was certainly *not* applied is explicit; everything else is ambiguous. gRPC codes alone do not tell
//! (a lost connection is `Unknown` or `Unavailable`, and so is a full database), so etcd's own messages, which are
//! part of its API (`rpctypes`), are matched where the code is not enough.

use std::error::Error as _;

use etcd_client::Error;
use tonic::{Code, ConnectError, Status};

use crate::store::StoreError;

/// What mends a database that is full, which etcd does not say.
pub(super) const MAKE_ROOM: &str =
    "compact and defragment etcd, or raise its --quota-backend-bytes, then disarm its alarm";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection, or refused by this member before doing anything: another one may do it.
    NotSent(String),
    /// One of the two does not trust the other's certificate, so nothing was asked. Another member may do.
    NotTrusted(String),
    /// No answer, or one that leaves it open.
    Ambiguous(String),
    /// The token was not accepted, so the request was not even looked at.
    StaleToken(String),
    /// The revision asked for is gone, or has not been reached.
    Revision(String),
    /// The answer is larger than we accept.
    AnswerTooLarge(String),
    /// There is no such lease.
    NoLease,
    /// Answered, and not applied, and no other member would say otherwise.
    Refused(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::from(status),
            Error::LeaseKeepAliveError(message) if message == "lease not found" => Self::NoLease,
            // These are about what we gave to the client, and are found before anything is sent.
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Self::Refused(StoreError::Unavailable { reason: error.to_string() })
            }
            _ => Self::Ambiguous(error.to_string()),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = said(&status);
        let is_connecting = was_not_connected(&status);
        if let Some(setting) = distrust(&message, is_connecting) {
            return Self::NotTrusted(format!("{message}: check {setting}"));
        }
        if is_connecting || message == "etcdserver: no leader" {
            return Self::NotSent(message);
        }
        if message.contains("invalid auth token")
            || message.contains("auth store is old")
            || status.code() == Code::Unauthenticated
        {
            return Self::StaleToken(message);
        }
        match status.code() {
            Code::PermissionDenied => Self::Refused(StoreError::Denied { reason: message }),
            Code::InvalidArgument | Code::FailedPrecondition if is_about_credentials(&message) => {
                Self::Refused(StoreError::Denied { reason: message })
            }
            Code::InvalidArgument if message.contains("too large") || message.contains("too many operations") => {
                Self::Refused(StoreError::TooLarge { reason: message })
            }
            Code::NotFound if message.contains("lease not found") => Self::NoLease,
            Code::OutOfRange if message.contains("revision") => Self::Revision(message),
            Code::OutOfRange if message.contains("message length too large") => Self::AnswerTooLarge(message),
            Code::ResourceExhausted if message.contains("database space exceeded") => {
                Self::Refused(StoreError::Full { reason: format!("{message} ({MAKE_ROOM})") })
            }
            Code::ResourceExhausted if message.starts_with("etcdserver:") => Self::NotSent(message),
            Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound | Code::Unimplemented => {
                Self::Refused(StoreError::Unavailable { reason: message })
            }
            _ => Self::Ambiguous(message),
        }
    }
}

impl Failure {
    /// What it means that etcd cancelled a watch, not for its revision but for this reason.
    pub(super) fn of_cancelled_watch(reason: &str) -> Self {
        let reason = format!("etcd cancelled the watch: {reason}");
        if reason.contains("permission denied") || is_about_credentials(&reason) {
            Self::Refused(StoreError::Denied { reason })
        } else {
            Self::Ambiguous(reason)
        }
    }
}

/// A status's words, and those of what is at the root of it.
fn said(status: &Status) -> String {
    let (message, root) = (status.message(), root(status).to_string());
    if status.source().is_none() || message.contains(&root) { message.to_owned() } else { format!("{message}: {root}") }
}

/// What is at the root of an error.
pub(super) fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

/// The alerts of TLS, as rustls names them, with which a server turns a certificate down, or the want of one. It sends them
/// before it reads anything else, although with TLS 1.3 the client may have written a request by then.
const ABOUT_CERTIFICATES: [&str; 9] = [
    "CertificateRequired",
    "NoCertificate",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "AccessDenied",
];

/// Which settings are at fault where one of the two does not trust the other's certificate. Any other alert can come at any
/// time, after a request as well, and says nothing of it.
fn distrust(message: &str, is_connecting: bool) -> Option<&'static str> {
    if message.contains("invalid peer certificate") {
        return Some("store.etcd_ca_file, and the names in etcd's certificate");
    }
    let (_, alert) = message.split_once("received fatal alert: ")?;
    let alert = alert.split(|c: char| !c.is_alphanumeric()).next()?;
    let is_about_ours = ABOUT_CERTIFICATES.contains(&alert) || (alert == "HandshakeFailure" && is_connecting);
    is_about_ours.then_some("store.etcd_cert_file and store.etcd_key_file")
}

/// Whether the request failed for want of a connection, which is to say before it was sent.
fn was_not_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn is_about_credentials(message: &str) -> bool {
    ["authentication failed", "authentication is not enabled", "user name is empty"]
        .iter()
        .any(|known| message.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_not_to_be_applied_is_said_to_be_so() {
        let of = |code, message: &str| Failure::from(Status::new(code, message));
        assert!(matches!(of(Code::Unavailable, "etcdserver: no leader"), Failure::NotSent(_)));
        assert!(matches!(of(Code::ResourceExhausted, "etcdserver: too many requests"), Failure::NotSent(_)));
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "error reading a body from connection"),
            (Code::Unknown, "h2 protocol error: broken pipe"),
            (Code::Unknown, "raft proposal dropped"),
            (Code::Cancelled, "Timeout expired"),
            (Code::DeadlineExceeded, ""),
            (Code::Internal, ""),
            (Code::ResourceExhausted, "h2 protocol error: enhance your calm"),
        ] {
            assert!(matches!(of(code, message), Failure::Ambiguous(_)), "{code:?} {message}");
        }
    }

    #[test]
    fn an_alert_says_that_nothing_was_asked_only_where_it_is_about_a_certificate() {
        let of = |alert: &str| Failure::from(Status::new(Code::Unknown, format!("received fatal alert: {alert}")));
        for alert in ABOUT_CERTIFICATES {
            let failure = of(alert);
            assert!(matches!(&failure, Failure::NotTrusted(reason) if reason.contains("cert_file")), "{failure:?}");
        }
        for alert in [
            "UnexpectedMessage",
            "BadRecordMac",
            "RecordOverflow",
            "HandshakeFailure",
            "DecodeError",
            "DecryptError",
            "ProtocolVersion",
            "InternalError",
            "UserCanceled",
            "CertificateUnobtainable",
            "BadCertificateStatusResponse",
            "Unknown(0x7f)",
        ] {
            let failure = of(alert);
            assert!(matches!(failure, Failure::Ambiguous(_)), "it may have come after the request: {failure:?}");
        }
        assert!(distrust("received fatal alert: HandshakeFailure", true).is_some());
        assert!(distrust("received fatal alert: InternalError", true).is_none());
    }

    #[test]
    fn refusals_are_told_apart() {
        let refusal = |code, message: &str| match Failure::from(Status::new(code, message)) {
            Failure::Refused(error) => error,
            other => panic!("{other:?}"),
        };
        let reason = String::from;
        let message = "etcdserver: mvcc: database space exceeded";
        let full = refusal(Code::ResourceExhausted, message).to_string();
        assert!(full.contains(message) && full.contains("disarm"), "{full}");
        let message = "etcdserver: request is too large";
        assert_eq!(refusal(Code::InvalidArgument, message), StoreError::TooLarge { reason: reason(message) });
        for (code, message) in [
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
        ] {
            assert_eq!(refusal(code, message), StoreError::Denied { reason: reason(message) });
        }
    }

    #[test]
    fn tokens_revisions_and_sizes_have_a_cure() {
        let of = |code, message: &str| Failure::from(Status::new(code, message));
        for (code, message) in [
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        ] {
            assert_eq!(of(code, message), Failure::StaleToken(message.to_owned()));
        }
        let message = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(of(Code::OutOfRange, message), Failure::Revision(message.to_owned()));
        let message = "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";
        assert_eq!(of(Code::OutOfRange, message), Failure::AnswerTooLarge(message.to_owned()));
        assert_eq!(of(Code::NotFound, "etcdserver: requested lease not found"), Failure::NoLease);
    }
}
