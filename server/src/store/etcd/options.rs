//! How to reach a cluster.

use std::{
    fmt::{self, Debug},
    time::Duration,
};

use crate::store::{InvalidRequest, txn::check_prefix};

/// Where the manager's keys are, unless told otherwise.
pub const DEFAULT_PREFIX: &str = "/cofferdam/v1/";

/// How long one attempt at a call may take, unless told otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest prefix, in bytes: with [`MAX_KEY_BYTES`](crate::store::MAX_KEY_BYTES) it keeps keys in bounds.
const MAX_PREFIX_BYTES: usize = 128;

/// Which cluster, and how to behave towards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// The members' client addresses, `http://host:port`, `https://host:port` or `host:port`, which is the one that
    /// [`tls`](Self::tls) says; at least one. The first one that answers is used until it fails.
    pub endpoints: Vec<String>,
    /// What all keys begin with in etcd. Visible ASCII, ends with `/`; managers that share it share their state.
    pub prefix: String,
    /// Who to log in as; absent where the cluster has no authentication.
    pub user: Option<EtcdUser>,
    /// What TLS goes by; absent for plain HTTP.
    pub tls: Option<EtcdTls>,
    /// How long one attempt at a call may take before it counts as unanswered; more than zero.
    pub call_timeout: Duration,
}

/// What TLS to etcd goes by.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The certificates of those who may have issued a member's, in PEM; at least one.
    pub authorities: Vec<u8>,
    /// What is shown to members that ask for a certificate; absent where none does.
    pub identity: Option<EtcdIdentity>,
}

/// A certificate of the manager's own.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdIdentity {
    /// The certificate, and those between it and its authority, in PEM.
    pub certificate: Vec<u8>,
    /// Its private key, in PEM; never shown in debug output.
    pub key: Vec<u8>,
}

/// A user of etcd's own authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// Its password; never shown in debug output.
    pub password: String,
}

impl EtcdOptions {
    /// The defaults for these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: DEFAULT_PREFIX.to_owned(),
            user: None,
            tls: None,
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }
    }

    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let refuse = |option, reason: &str| Err(InvalidRequest::Option { option, reason: reason.to_owned() });
        if self.endpoints.is_empty() {
            return refuse("endpoints", "there is none");
        }
        if check_prefix(&self.prefix).is_err() || !self.prefix.ends_with('/') || self.prefix.len() > MAX_PREFIX_BYTES {
            return refuse("prefix", "it must be at most 128 visible ASCII characters and end with \"/\"");
        }
        if self.call_timeout.is_zero() {
            return refuse("call_timeout", "it is zero");
        }
        Ok(())
    }
}

impl Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Debug for EtcdIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdIdentity").finish_non_exhaustive()
    }
}

impl Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_used_and_names_it() {
        let good = EtcdOptions::new(["http://127.0.0.1:2379", "localhost:2379"]);
        assert_eq!(good.check(), Ok(()));
        let changed = |change: fn(&mut EtcdOptions)| {
            let mut options = good.clone();
            change(&mut options);
            options
        };
        for (option, bad) in [
            ("endpoints", changed(|options| options.endpoints.clear())),
            ("prefix", changed(|options| options.prefix = "/cofferdam/v1".to_owned())),
            ("prefix", changed(|options| options.prefix = String::new())),
            ("prefix", changed(|options| options.prefix = "/a b/".to_owned())),
            ("prefix", changed(|options| options.prefix = format!("/{}/", "x".repeat(MAX_PREFIX_BYTES)))),
            ("call_timeout", changed(|options| options.call_timeout = Duration::ZERO)),
        ] {
            let refused = bad.check().expect_err(option);
            assert!(refused.to_string().contains(option), "{refused}");
        }
    }

    #[test]
    fn debug_output_has_no_password() {
        let user = EtcdUser { name: "manager".to_owned(), password: "canary".to_owned() };
        let identity = Some(EtcdIdentity { certificate: Vec::new(), key: b"canary".to_vec() });
        let tls = Some(EtcdTls { authorities: Vec::new(), identity });
        let shown = format!("{:?}", EtcdOptions { user: Some(user), tls, ..EtcdOptions::new(["a"]) });
        assert!(shown.contains("manager") && !shown.contains("canary") && !shown.contains("99, 97"), "{shown}");
    }
}
