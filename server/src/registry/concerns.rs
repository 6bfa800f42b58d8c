//! What operators should know of the store: looked for now and then, told once in the log when it comes and when it goes.

use std::sync::PoisonError;

use super::Registry;
use crate::store::Concern;

impl Registry {
    /// Asks the store how it does. One that does not answer leaves things as they were: that it is away is known
    /// otherwise.
    pub(crate) async fn look_at_store(&self) {
        match self.shared.store.concerns().await {
            Ok(found) => self.note_concerns(found),
            Err(error) => tracing::debug!(%error, "the store does not say how it does"),
        }
    }

    /// What was last found of the store although it answers.
    pub fn concerns(&self) -> Vec<Concern> {
        self.shared.concerns.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the store is there and takes writes, as far as is known.
    pub fn takes_writes(&self) -> bool {
        let concerns = self.shared.concerns.read().unwrap_or_else(PoisonError::into_inner);
        self.stale_for().is_none() && !concerns.iter().any(|concern| concern.refuses_writes)
    }

    fn note_concerns(&self, found: Vec<Concern>) {
        let before = {
            let mut concerns = self.shared.concerns.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *concerns, found.clone())
        };
        for concern in found.iter().filter(|concern| !before.contains(concern)) {
            tracing::warn!("{}", concern.what);
        }
        for concern in before.iter().filter(|concern| !found.contains(concern)) {
            tracing::info!("no longer so: {}", concern.what);
        }
        if before != found {
            self.shared.version.send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}
