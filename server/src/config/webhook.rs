use std::{path::PathBuf, time::Duration};

use http::Uri;
use serde::Deserialize;

use super::{ConfigError, MAX_WAIT, check_within, human};
use crate::{events::Filter, registry::nearest};
use cofferdam_proto::v1;

/// What the contract's names of kinds begin with.
const PREFIX: &str = "EVENT_KIND_";

const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Where events are posted, and which.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WebhookConfig {
    /// Where: URLs that begin with `http://` or `https://`. Empty: nowhere.
    #[serde(deserialize_with = "human::list")]
    pub urls: Vec<String>,
    /// The kinds, as in `breaker` and `fleet-hint`. Empty: all.
    #[serde(deserialize_with = "human::list")]
    pub kinds: Vec<String>,
    /// The namespace. Default `*`: all.
    pub namespace: String,
    /// The service of that namespace, and nothing else. Unset: all.
    pub service: Option<String>,
    /// The file with what events are signed with: 16 bytes or more, or `whsec_` and as many in base64. Unset: they are not
    /// signed.
    pub secret_file: Option<PathBuf>,
    /// The file with the certificates, in PEM, of those who may vouch for receivers with `https://`. Unset: whom this machine
    /// trusts.
    pub ca_file: Option<PathBuf>,
    /// How long an attempt may take. `100ms` to `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub timeout: Duration,
    /// How long an event is tried. `100ms` to `24h`. Default `1h`.
    #[serde(deserialize_with = "human::duration")]
    pub give_up_after: Duration,
}

impl WebhookConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let has_tls = self.targets()?.iter().any(|url| url.scheme_str() == Some("https"));
        if self.ca_file.is_some() && !has_tls {
            let reason = "must be unset where no webhook.urls begins with https://".to_owned();
            return Err(ConfigError::Invalid { key: "webhook.ca_file", reason });
        }
        self.filter()?;
        check_within("webhook.timeout", self.timeout, MIN_TIMEOUT, MAX_WAIT)?;
        check_within("webhook.give_up_after", self.give_up_after, MIN_TIMEOUT, MAX_WAIT)
    }

    /// Where.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`]. A URL may hold a secret, so it does not say which.
    pub(crate) fn targets(&self) -> Result<Vec<Uri>, ConfigError> {
        let is_one = |uri: &Uri| {
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            is_http && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        };
        let read = |url: &String| url.parse().ok().filter(is_one);
        self.urls.iter().map(read).collect::<Option<_>>().ok_or_else(|| ConfigError::Invalid {
            key: "webhook.urls",
            reason: "must be URLs that begin with http:// or https://, with a host and no user".to_owned(),
        })
    }

    /// Which.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an unknown kind or an invalid name.
    pub(crate) fn filter(&self) -> Result<Filter, ConfigError> {
        let known: Vec<_> = (1..)
            .map_while(|number| v1::EventKind::try_from(number).ok())
            .map(|kind| (kind.as_str_name().trim_start_matches(PREFIX).to_ascii_lowercase().replace('_', "-"), kind))
            .collect();
        let kind = |text: &String| {
            let found = known.iter().find(|(name, _)| name == text);
            found.map(|(_, kind)| i32::from(*kind)).ok_or_else(|| {
                let alike = nearest(text, known.iter().map(|(name, _)| name.as_str()));
                let hint = alike.first().map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
                ConfigError::Invalid { key: "webhook.kinds", reason: format!("must be kinds of events{hint}") }
            })
        };
        let kinds = self.kinds.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        let service = self.service.as_deref().unwrap_or_default();
        let namespace = if service.is_empty() || self.namespace != "*" { &self.namespace } else { "" };
        Filter::new(namespace, service, &kinds)
            .map_err(|error| ConfigError::Invalid { key: "webhook.namespace", reason: error.to_string() })
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            kinds: Vec::new(),
            namespace: "*".to_owned(),
            service: None,
            secret_file: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
            give_up_after: Duration::from_secs(60 * 60),
        }
    }
}
