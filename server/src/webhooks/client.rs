//! How events are posted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
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

impl Client {
    /// One that trusts whom this machine trusts, and follows no redirections. Where nothing is reached by TLS, nobody has to
    /// be trusted.
    ///
    /// # Errors
    /// The certificates of this machine's authorities cannot be read.
    pub(crate) fn new(has_tls: bool) -> std::io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = HttpsConnectorBuilder::new();
        let builder = if has_tls {
            builder.with_provider_and_native_roots(provider)?
        } else {
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(std::io::Error::other)?;
            builder.with_tls_config(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { inner: HyperClient::builder(TokioExecutor::new()).build(connector) })
    }

    pub(super) async fn post(
        &self,
        url: &Uri,
        id: &str,
        timestamp: u64,
        signature: Option<String>,
        body: &str,
    ) -> Result<Answer, String> {
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
        Ok(Answer { status: answer.status(), retry_after: retry_after(answer.headers()) })
    }
}

/// In whole seconds; a date is passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// What lies at the bottom of an error: the system's own words, and no URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
