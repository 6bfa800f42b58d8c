//! Many services, each put back for itself: too many for one transaction.

use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1::{self, RollbackOutcome};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Wish,
    many::{Answers, refusal},
};
use crate::{
    error::Error,
    registry::{Registry, register::SERVICES},
};

/// How many services are put back at a time.
const TOGETHER: usize = 64;

impl Registry {
    pub(super) async fn roll_each_back(
        &self,
        wish: &Wish,
        mut waiting: Vec<ServiceKey>,
        unchanged: u32,
    ) -> Result<v1::RollbackResponse, Error> {
        let mut answers = Answers::default();
        // What is to go again goes last: the history of what is gone is forgotten where too much is.
        let mut may_remove = wish.request.validate_only;
        loop {
            let Round { is_nearer, refused, to_remove } = self.go(waiting, wish, may_remove, &mut answers).await;
            let is_last = wish.request.validate_only || !is_nearer && to_remove.is_empty();
            let (again, refused): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(|(_, error)| !is_last && may_pass(error));
            refused.into_iter().for_each(|(key, error)| answers.add(refusal(&key, &error)));
            may_remove |= !to_remove.is_empty();
            waiting = again.into_iter().map(|(key, _)| key).chain(to_remove).collect();
            if waiting.is_empty() {
                return Ok(answers.into_response(unchanged));
            }
        }
    }

    /// Tries to put each back, side by side, until the store goes away.
    async fn go(&self, waiting: Vec<ServiceKey>, wish: &Wish, may_remove: bool, answers: &mut Answers) -> Round {
        let is_away = &AtomicBool::new(false);
        let attempts = stream::iter(waiting).map(|key| async move {
            if is_away.load(Ordering::Relaxed) {
                return (key, Err(Error::StoreUnavailable { reason: "it went away before its turn".to_owned() }));
            }
            let outcome = Box::pin(self.roll_back(&key, wish, may_remove)).await;
            if let Err(Error::StoreUnavailable { .. } | Error::StoreOutcomeUnknown { .. }) = outcome {
                is_away.store(true, Ordering::Relaxed);
            }
            (key, outcome)
        });
        let mut attempts = std::pin::pin!(attempts.buffer_unordered(TOGETHER));
        let mut round = Round::default();
        while let Some((key, outcome)) = attempts.next().await {
            round.is_nearer |= is_done(&outcome);
            match outcome {
                Ok(service) if is_left(&service) && wish.request.unregister_newer => round.to_remove.push(key),
                Ok(service) => answers.add(service),
                Err(error) => round.refused.push((key, error)),
            }
        }
        round
    }
}

/// What is left of a try.
#[derive(Debug, Default)]
struct Round {
    /// Something was done.
    is_nearer: bool,
    refused: Vec<(ServiceKey, Error)>,
    /// Those that are to go, and were not to go yet.
    to_remove: Vec<ServiceKey>,
}

fn is_done(outcome: &Result<v1::RolledBackService, Error>) -> bool {
    outcome.as_ref().is_ok_and(|service| service.outcome() == RollbackOutcome::Done)
}

fn is_left(service: &v1::RolledBackService) -> bool {
    service.outcome() == RollbackOutcome::LeftAlone
}

/// Whether others that are put back may make room.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Invalid { .. } | Error::ServiceInUse { .. } | Error::Contended { .. } => true,
        Error::QuotaExceeded { quota, .. } => *quota == SERVICES,
        _ => false,
    }
}

/// The name of the part of a request that is about one service; empty where the request has none.
pub(super) fn own_id(request_id: &str, key: &ServiceKey) -> String {
    if request_id.is_empty() {
        return String::new();
    }
    let digest = Sha256::digest(format!("{request_id}\n{key}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
