//! One member of the cluster.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use etcd_client::{Channel, Client, ConnectOptions};
use tokio::sync::{Mutex, OnceCell};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::{
    EtcdOptions, EtcdTls, EtcdUser,
    failure::{Failure, root},
};
use crate::store::InvalidRequest;

/// How long a connection may be silent before it is asked for a sign of life. etcd closes connections of clients that
/// ask more often than every 5 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);

/// How long the sign of life may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Member {
    /// As configured: what errors and logs name.
    pub(super) name: String,
    /// Whether it is reached by TLS.
    is_secure: bool,
    endpoint: Endpoint,
    user: Option<EtcdUser>,
    /// For everything but watches.
    shared: OnceCell<Arc<Client>>,
    /// How often the shared client's token was renewed.
    pub(super) renewals: AtomicU64,
    renewing: Mutex<()>,
}

impl Member {
    pub(super) fn new(name: &str, options: &EtcdOptions) -> Result<Self, InvalidRequest> {
        let refuse = |reason: String| InvalidRequest::Option { option: "endpoints", reason };
        let url = match (name.split_once("://"), &options.tls) {
            (None, None) => format!("http://{name}"),
            (None, Some(_)) => format!("https://{name}"),
            (Some(("http", _)), None) | (Some(("https", _)), Some(_)) => name.to_owned(),
            (Some(("https", _)), None) => {
                return Err(refuse(format!("{name}: https needs to know whose certificates to trust")));
            }
            (Some(("http", _)), Some(_)) => {
                return Err(refuse(format!("{name}: there are certificates to trust, so it must be https")));
            }
            (Some((scheme, _)), _) => {
                return Err(refuse(format!("{name}: {scheme} is not spoken, use http or https")));
            }
        };
        let endpoint = Endpoint::from_shared(url).map_err(|error| refuse(format!("{name}: {error}")))?;
        if endpoint.uri().port().is_none() || endpoint.uri().host().is_none_or(str::is_empty) {
            return Err(refuse(format!("{name}: it is not host:port")));
        }
        let endpoint = endpoint
            // Half, so that a call whose connection cannot be made is known not to have been sent.
            .connect_timeout(options.call_timeout / 2)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let endpoint = match &options.tls {
            None => endpoint,
            Some(tls) => secure(endpoint, tls)?,
        };
        Ok(Self {
            name: name.to_owned(),
            is_secure: options.tls.is_some(),
            endpoint,
            user: options.user.clone(),
            shared: OnceCell::new(),
            renewals: AtomicU64::new(0),
            renewing: Mutex::new(()),
        })
    }

    /// Makes one call on the shared client, a second time if the token turns out to be old.
    pub(super) async fn call<T, F>(&self, work: impl Fn(Arc<Client>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let client = self.shared.get_or_try_init(|| async { self.connect().await.map(Arc::new) }).await?;
        let renewals = self.renewals.load(Ordering::Acquire);
        match work(Arc::clone(client)).await {
            Err(Failure::StaleToken(_)) if self.user.is_some() => {
                self.renew(client, renewals).await?;
                work(Arc::clone(client)).await
            }
            Err(Failure::Ambiguous(reason)) if self.is_secure => Err(Failure::Ambiguous(with_certificate_hint(reason))),
            done => done,
        }
    }

    /// A client with a connection of its own.
    ///
    /// Connects only when it is used, except to log in.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some(EtcdUser { name, password }) = &self.user {
            options = options.with_user(name, password);
        }
        let channel = Channel::Tonic(self.endpoint.connect_lazy());
        Client::from_channel(channel, Some(options)).await.map_err(before_sending)
    }

    /// Logs in again, unless somebody else has since the token was seen to be old. A token that has run out, or that etcd has
    /// forgotten, the client renews by itself; one that is older than the last change to users it does not.
    async fn renew(&self, client: &Client, seen: u64) -> Result<(), Failure> {
        let _one_at_a_time = self.renewing.lock().await;
        if self.renewals.load(Ordering::Acquire) == seen {
            client.refresh_token().await.map_err(before_sending)?;
            self.renewals.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

/// A server that does not accept a client's certificate says so after the handshake, and closes; what it says is lost where
/// the client writes at the same moment.
fn with_certificate_hint(reason: String) -> String {
    let is_closed = ["connection closed", "broken pipe", "connection reset"].iter().any(|how| reason.contains(how));
    if is_closed { format!("{reason} (if etcd wants another certificate: check store.etcd_cert_file)") } else { reason }
}

/// An endpoint that is reached by TLS alone.
fn secure(endpoint: Endpoint, tls: &EtcdTls) -> Result<Endpoint, InvalidRequest> {
    let refuse = |reason: String| InvalidRequest::Option { option: "tls", reason };
    let begins = |pem: &[u8], what: &str| pem.windows(what.len()).any(|window| window == what.as_bytes());
    // None at all would be taken in, and then trust nobody.
    if !begins(&tls.authorities, "-----BEGIN CERTIFICATE-----") {
        return Err(refuse("there is no PEM certificate among those to trust".to_owned()));
    }
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authorities));
    if let Some(identity) = &tls.identity {
        config = config.identity(Identity::from_pem(&identity.certificate, &identity.key));
    }
    endpoint.tls_config(config).map_err(|error| refuse(root(&error).to_string()))
}

/// A failure to log in is never a doubt about the call it was for.
fn before_sending(error: etcd_client::Error) -> Failure {
    match Failure::from(error) {
        Failure::Ambiguous(reason) => Failure::NotSent(reason),
        failure => failure,
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn endpoints_that_cannot_work_are_named() {
        let options = EtcdOptions::new(["unused"]);
        for good in ["127.0.0.1:2379", "http://etcd-0.example:2379", "[::1]:2379"] {
            assert!(Member::new(good, &options).is_ok(), "{good}");
        }
        for bad in ["", "https://127.0.0.1:2379", "unix:///run/etcd", "localhost", "http://a b:2379", "http://:2379"] {
            let refused = Member::new(bad, &options).expect_err(bad).to_string();
            assert!(refused.contains("endpoints") && refused.contains(bad), "{refused}");
        }
    }

    #[tokio::test]
    async fn certificates_that_cannot_be_used_are_refused() {
        let of = |authorities: &str| {
            let tls = Some(EtcdTls { authorities: authorities.into(), identity: None });
            EtcdOptions { tls, ..EtcdOptions::new(["unused"]) }
        };
        for bad in ["", "nonsense"] {
            let refused = Member::new("a:2379", &of(bad)).expect_err(bad).to_string();
            assert!(refused.contains("tls"), "{refused}");
        }
        let refused = Member::new("http://a:2379", &of("")).expect_err("two minds").to_string();
        assert!(refused.contains("https"), "{refused}");
    }
}
