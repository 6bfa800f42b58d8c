//! What a manager does beside answering.

use std::net::SocketAddr;

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    housekeeping,
    parts::{Parts, advertised},
};
use crate::{config::Config, events, execute, hints, supervise::supervised};

/// Begins all of it; each ends with its handle.
pub(super) fn begin(
    parts: &Parts,
    config: &Config,
    local_addr: SocketAddr,
    drain: &CancellationToken,
) -> Vec<AbortOnDropHandle<()>> {
    let (address, drain, grace) = (advertised(config, local_addr), drain.clone(), config.listen.grace);
    let (stall_timeout, exposed) = (config.sync.stall_timeout, config.is_exposed().then_some(local_addr));
    vec![
        task("hints", parts, |parts| hints::keep(parts.registry, parts.instances)),
        task("events", parts, move |parts| {
            events::keep(parts.registry, parts.instances, address.clone(), drain.clone(), grace)
        }),
        task("concerns", parts, |parts| housekeeping::look_at_store(parts.registry)),
        task("executor", parts, |parts| execute::keep_up(parts.executor, parts.instances)),
        task("housekeeping", parts, move |parts| {
            housekeeping::keep(parts.registry, parts.instances, parts.executor, stall_timeout, exposed)
        }),
    ]
}

fn task<F>(name: &'static str, parts: &Parts, task: impl Fn(Parts) -> F + Send + 'static) -> AbortOnDropHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let parts = parts.clone();
    supervised(name, move || task(parts.clone()))
}
