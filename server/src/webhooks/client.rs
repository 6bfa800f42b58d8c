//! How events are posted.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

const USER_AGENT: &str = concat!("cofferdam/", env!("CARGO_PKG_VERSION"));

/// An HTTP client. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inner: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a receiver said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
}

/// Who may vouch for receivers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// Nobody: nothing is reached by TLS.
    Nobody,
    /// Whom this machine trusts.
    Machine,
    /// Those of these certificates, in PEM.
    These(&'a [u8]),
}

impl Client {
    /// One that follows no redirections.
    ///
    /// # Errors
    /// The certificates cannot be read, or there is none.
    pub(crate) fn new(trust: Trust<'_>) -> std::io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let with = |roots: RootCertStore| {
            let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
            let config = config.with_safe_default_protocol_versions().map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(config.with_root_certificates(roots).with_no_client_auth())
        };
        let builder = match trust {
            Trust::Nobody => builder.with_tls_config(with(RootCertStore::empty())?),
            Trust::Machine => builder.with_provider_and_native_roots(provider)?,
            Trust::These(pem) => builder.with_tls_config(with(roots(pem)?)?),
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { inner: HyperClient::builder(TokioExecutor::new()).build(connector) })
    }

    pub(super) async fn post(
        &self,
        url: &Uri,
        id: &str,
        now: SystemTime,
        signature: Option<String>,
        body: &str,
    ) -> Result<Answer, String> {
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if let Some(signature) = signature {
            request = request.header("webhook-signature", signature);
        }
        let request = request.body(Full::from(Bytes::copy_from_slice(body.as_bytes())));
        let answer = self.inner.request(request.map_err(|error| error.to_string())?).await;
        // What is in the answer does not matter, and its connection goes with it where it is not read.
        let answer = answer.map_err(|error| innermost(&error))?;
        Ok(Answer { status: answer.status(), retry_after: retry_after(answer.headers(), now) })
    }
}

fn roots(pem: &[u8]) -> std::io::Result<RootCertStore> {
    let invalid = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() { Err(invalid("it holds no certificate in PEM".to_owned())) } else { Ok(roots) }
}

/// How long the receiver wants to be left alone, as RFC 9110, section 10.2.3, has it: whole seconds, or a date. One that is
/// past is no time at all.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().map(Duration::from_secs).ok();
    seconds.or_else(|| Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()))
}

/// What lies at the bottom of an error: the system's own words, and no URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
