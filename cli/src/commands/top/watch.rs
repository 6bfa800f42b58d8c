//! Asks a manager how its services do, over and over.

use super::rows::{FIELDS, Row, rows};
use crate::client::{CallError, Client};
use crate::commands::get::Window;
use crate::commands::session::{ALL_NAMESPACES, lacks};
use cofferdam_proto::v1;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// What came of asking once.
pub(super) type Asked = Result<Snapshot, String>;

/// How all services do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    /// The services.
    pub(super) rows: Vec<Row>,
    /// Instances that hold a stream.
    pub(super) instances: u32,
    /// What the answer lacks.
    pub(super) notes: Vec<String>,
}

/// Asks until nobody listens any more. Whoever takes longer to answer is asked less often.
pub(super) async fn run(
    client: Client,
    namespace: String,
    window: Window,
    every: Duration,
    listener: mpsc::Sender<Asked>,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = ask(&client, &namespace, window).await;
        let asked = asked.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned());
        if listener.send(asked).await.is_err() {
            return;
        }
    }
}

async fn ask(client: &Client, namespace: &str, window: Window) -> Result<Snapshot, CallError> {
    let of = if namespace == ALL_NAMESPACES { String::new() } else { namespace.to_owned() };
    let request = v1::GetIsolationStatsRequest {
        namespace: of,
        include_services: true,
        window: window.to_wire(),
        ..Default::default()
    };
    let list = Box::pin(client.services(namespace, FIELDS));
    let (list, stats) = tokio::try_join!(list, Box::pin(client.stats(request)))?;
    Ok(Snapshot {
        notes: lacks(list.stale_for, &stats.unreachable_managers),
        instances: stats.stats.as_ref().map(|stats| stats.instances).unwrap_or_default(),
        rows: rows(list.services, stats.services),
    })
}
