use super::super::session::{ALL_NAMESPACES, Session};
use super::{Error, Listing, Window, instances};
use crate::output::{Cell, Document, Table, Tone, Yielding, age, std_duration};
use cofferdam_proto::v1;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const COLUMNS: &[&str] = &["INSTANCE", "APPLICATION", "SERVICES", "SYNC", "OPEN", "CONNECTED", "REPORTED"];

/// What gives way on a narrow terminal.
const YIELDING: &[Yielding] = &[("REPORTED", 0), ("CONNECTED", 0), ("APPLICATION", 0)];

/// What is known of one instance over its services.
#[derive(Default)]
struct Client {
    application: String,
    services: usize,
    synced: usize,
    open: usize,
    connected: Option<Duration>,
    reported: Option<Duration>,
}

/// Lists instances.
pub(super) async fn list(names: &[String], session: &Session<'_>) -> Result<Listing, Error> {
    let answers = instances::all(&[], Window::ALL, session).await?;
    let mut clients = BTreeMap::<&str, Client>::new();
    for answer in &answers {
        let is_wanted = |instance: &&v1::InstanceStats| names.is_empty() || names.contains(&instance.instance_id);
        for instance in answer.stats.instances.iter().filter(is_wanted) {
            clients.entry(&instance.instance_id).or_default().take(answer.revision, instance);
        }
    }
    if let Some(missing) = names.iter().find(|name| !clients.contains_key(name.as_str())) {
        return Err(Error::failed(format!("no instance {missing} is connected"), "cofferdam get clients"));
    }
    let mut notes = instances::notes(&answers);
    if session.namespace != ALL_NAMESPACES && !clients.is_empty() {
        notes.push(format!("only the services of namespace {} are counted; -A counts all", session.namespace));
    }
    let document =
        Document::Own(json!({ "clients": clients.iter().map(|(id, client)| client.json(id)).collect::<Vec<_>>() }));
    let mut listing =
        Listing { table: Table::new(COLUMNS).yielding(YIELDING), names: Vec::new(), documents: vec![document], notes };
    for (id, client) in clients {
        listing.table.push(client.row(id));
        listing.names.push(id.to_owned());
    }
    Ok(listing)
}

impl Client {
    fn take(&mut self, current: Option<v1::Revision>, instance: &v1::InstanceStats) {
        let position = |revision: Option<v1::Revision>| revision.map(|revision| (revision.epoch, revision.revision));
        self.application.clone_from(&instance.application);
        self.services += 1;
        self.synced += usize::from(
            instance.applied_revision.is_some() && position(instance.applied_revision) >= position(current),
        );
        self.open +=
            usize::from(matches!(instance.breaker_state(), v1::BreakerState::Open | v1::BreakerState::HalfOpen));
        self.connected = self.connected.max(std_duration(instance.connected_for));
        let reported = std_duration(instance.last_report_age);
        self.reported = match (self.reported, reported) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// In the manner of the contract: ages as it has durations, and what is not known is left out.
    fn json(&self, id: &str) -> Value {
        let mut json = json!({
            "instanceId": id,
            "application": self.application,
            "services": self.services,
            "synced": self.synced,
            "open": self.open,
        });
        for (name, age) in [("connectedFor", self.connected), ("lastReportAge", self.reported)] {
            if let Some(age) = age {
                json[name] = json!(format!("{:.3}s", age.as_secs_f64()));
            }
        }
        json
    }

    fn row(&self, id: &str) -> Vec<Cell> {
        let sync = if self.synced == self.services { Tone::Good } else { Tone::Warn };
        let open = if self.open == 0 { Tone::Plain } else { Tone::Bad };
        vec![
            id.into(),
            self.application.as_str().into(),
            self.services.to_string().into(),
            Cell::toned(format!("{}/{}", self.synced, self.services), sync),
            Cell::toned(self.open.to_string(), open),
            Cell::toned(age(self.connected), Tone::Faint),
            Cell::toned(age(self.reported), Tone::Faint),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_summed_up_over_its_services() {
        let revision = |revision| Some(v1::Revision { epoch: 1, revision });
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let instance = |applied, state: v1::BreakerState, reported| v1::InstanceStats {
            application: "shop".into(),
            applied_revision: applied,
            breaker_state: state.into(),
            connected_for: seconds(90),
            last_report_age: reported,
            ..Default::default()
        };
        let mut client = Client::default();
        client.take(revision(4), &instance(revision(4), v1::BreakerState::Closed, None));
        client.take(revision(9), &instance(revision(8), v1::BreakerState::Open, seconds(3)));
        client.take(revision(2), &instance(None, v1::BreakerState::Unspecified, seconds(1)));
        let expected = [
            Cell::from("pay-1"),
            "shop".into(),
            "3".into(),
            Cell::toned("1/3", Tone::Warn),
            Cell::toned("1", Tone::Bad),
            Cell::toned("1m30s", Tone::Faint),
            Cell::toned("1s", Tone::Faint),
        ];
        assert_eq!(client.row("pay-1"), expected);
        let expected = json!({
            "instanceId": "pay-1", "application": "shop", "services": 3, "synced": 1, "open": 1,
            "connectedFor": "90.000s", "lastReportAge": "1.000s",
        });
        assert_eq!(client.json("pay-1"), expected);
    }
}
