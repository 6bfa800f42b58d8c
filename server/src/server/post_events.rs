//! Events to whom the settings name.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{StartError, setting_file::read};
use crate::{
    config::{Config, ConfigError},
    events::Events,
    supervise::supervised,
    webhooks::{Client, Delivery, NoSecret, Secret, Trust, Webhook},
};

/// Begins to post events: one task for each URL, which ends once the last event is posted.
pub(super) async fn post_events(
    config: &Config,
    events: &Arc<Events>,
) -> Result<Vec<AbortOnDropHandle<()>>, StartError> {
    let targets = config.webhook.targets()?;
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let secret_error = |error: NoSecret| ConfigError::Invalid { key: "webhook.secret_file", reason: error.to_string() };
    let secret = match &config.webhook.secret_file {
        Some(path) => Some(Arc::new(Secret::read(&read("webhook.secret_file", path).await?).map_err(secret_error)?)),
        None => None,
    };
    let has_tls = targets.iter().any(|url| url.scheme_str() == Some("https"));
    let client = match &config.webhook.ca_file {
        Some(path) => {
            let (key, path) = ("webhook.ca_file", path.clone());
            let certificates = read(key, &path).await?;
            Client::new(Trust::These(&certificates)).map_err(|error| StartError::File { key, path, error })?
        }
        None if has_tls => Client::new(Trust::Machine).map_err(StartError::Webhooks)?,
        None => Client::new(Trust::Nobody).map_err(StartError::Webhooks)?,
    };
    let filter = config.webhook.filter()?;
    let begin = |url| {
        let webhook = Webhook {
            url,
            filter: filter.clone(),
            secret: secret.clone(),
            timeout: config.webhook.timeout,
            give_up_after: config.webhook.give_up_after,
            ..Webhook::default()
        };
        let delivery = Delivery::new(webhook, client.clone(), Arc::clone(events)).map_err(StartError::Contract)?;
        Ok(supervised("webhook", move || Arc::clone(&delivery).run()))
    };
    targets.into_iter().map(begin).collect()
}
