//! Waits under way, each looked at after every step.

use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::v1::{
    WaitForConvergenceRequest, WaitForConvergenceResponse, wait_for_convergence_request::Quorum as WireQuorum,
};
use futures_util::{FutureExt, future::BoxFuture};
use rand::{RngExt, rngs::StdRng};
use std::time::Duration;
use tokio::time::Instant;

use super::model::Service;
use crate::{
    error::Error,
    grpc::isolation_service::{IsolationApi, convergence::Quorum},
};
use cofferdam_core::{revision::Revision, wire::revision_to_wire};

/// A caller of WaitForConvergence.
pub(super) struct Wait {
    /// `None`: the whole namespace.
    pub(super) service: Option<Service>,
    pub(super) asked: Option<Revision>,
    pub(super) quorum: Quorum,
    pub(super) deadline: Instant,
    answer: BoxFuture<'static, Result<WaitForConvergenceResponse, Error>>,
}

impl Wait {
    pub(super) fn begin(
        api: &IsolationApi,
        random: &mut StdRng,
        service: Option<Service>,
        asked: Option<Revision>,
    ) -> Self {
        let (quorum, wire) = match random.random_range(0..4) {
            0 => (Quorum::Percent(100), None),
            1 => {
                let percent = random.random_range(1..=100);
                (Quorum::Percent(percent), Some(WireQuorum::Percent(percent)))
            }
            _ => {
                let count = random.random_range(1..=4);
                (Quorum::Count(count), Some(WireQuorum::Count(count)))
            }
        };
        let timeout = Duration::from_secs(random.random_range(1..=600));
        let request = WaitForConvergenceRequest {
            service: service.unwrap_or_default().to_owned(),
            revision: asked.map(revision_to_wire),
            quorum: wire,
            timeout: Some(duration_to_wire(timeout)),
            ..Default::default()
        };
        let api = api.clone();
        let answer = async move { api.wait_for_convergence(&request).await }.boxed();
        Self { service, asked, quorum, deadline: Instant::now() + timeout, answer }
    }

    /// The answer, if it is there.
    pub(super) fn look(&mut self) -> Option<Result<WaitForConvergenceResponse, Error>> {
        (&mut self.answer).now_or_never()
    }
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quorum = match self.quorum {
            Quorum::Count(count) => format!("{count}"),
            Quorum::Percent(percent) => format!("{percent}%"),
        };
        write!(f, "wait for {quorum} of {:?} at {:?} until {:?}", self.service, self.asked, self.deadline)
    }
}
