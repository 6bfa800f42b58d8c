//! GetIsolationStats: sums over services, and pages of services, or of one service's instances.
//!
//! A page goes on after the last name of the one before, as those of ListIsolatedServices do. Sums are over all that was
//! asked about, whatever the page. Asking changes nothing.

use std::time::Duration;

use cofferdam_core::{
    name::{Name, ServiceKey},
    wire::{breaker_state_to_wire, duration_from_wire, duration_to_wire, health_to_wire, revision_to_wire},
};
use cofferdam_proto::v1;
use prost::Message;

use super::{
    IsolationApi, figures,
    page::{MAX_BYTES, page_size, read_token},
    stats::{self, Sums},
};
use crate::{
    error::Error,
    instances::{LONGEST_WINDOW, Point, Row},
    registry::validate,
};

/// What the history is shown of where no window is asked for.
const DEFAULT_HISTORY: Duration = Duration::from_secs(3600);

/// What is asked about.
struct Query {
    namespace: Option<Name>,
    service: Option<ServiceKey>,
    window: Option<Duration>,
    size: usize,
}

impl Query {
    fn read(request: &v1::GetIsolationStatsRequest) -> Result<Self, Error> {
        let service = match request.service.as_str() {
            "" => None,
            service => Some(validate::target(&request.namespace, service)?),
        };
        let namespace = match request.namespace.as_str() {
            "" => None,
            text => Some(Name::new(text).map_err(|invalid| Error::invalid("namespace", invalid.to_string()))?),
        };
        for (asked, field) in
            [(request.include_instances, "include_instances"), (request.include_history, "include_history")]
        {
            if asked && service.is_none() {
                return Err(Error::invalid(field, "is about one service: name it in service".to_owned()));
            }
        }
        Ok(Self { namespace, service, window: window(request.window)?, size: page_size(request.page_size)? })
    }
}

impl IsolationApi {
    pub(super) fn stats(&self, request: &v1::GetIsolationStatsRequest) -> Result<v1::GetIsolationStatsResponse, Error> {
        let query = Query::read(request)?;
        let services = match &query.service {
            Some(key) => vec![self.registry.describe(key)?.0],
            None => self.registry.services(query.namespace.as_ref()),
        };
        let pages_services = query.service.is_none() && request.include_services;
        let after = match request.page_token.as_str() {
            token if pages_services && !token.is_empty() => Some(read_token(token)?),
            _ => None,
        };
        let mut answer = v1::GetIsolationStatsResponse::default();
        let (mut sums, mut bytes, mut last) = (Sums::default(), 0, None);
        for registered in &services {
            let stats = self.stats_over(registered, query.window, &mut sums);
            if query.service.is_some() {
                answer.services.push(stats);
            } else if pages_services && after.as_ref().is_none_or(|after| registered.key() > after) {
                bytes += stats.encoded_len();
                let is_full = answer.services.len() == query.size || bytes > MAX_BYTES;
                match &last {
                    // The page before has ended; what comes after is only added up.
                    Some(last) if is_full => answer.next_page_token = ServiceKey::to_string(last),
                    _ if answer.next_page_token.is_empty() => {
                        last = Some(registered.key().clone());
                        answer.services.push(stats);
                    }
                    _ => {}
                }
            }
        }
        let namespace = query.service.as_ref().map(|key| &key.namespace).or(query.namespace.as_ref());
        let mut stats = stats::of_all(&services, &sums, &self.instances, namespace, query.window);
        if let [service] = &answer.services[..]
            && query.service.is_some()
        {
            stats.instances = service.instances;
        }
        if let Some(key) = query.service.as_ref().filter(|_| request.include_instances) {
            let (rows, has_more) = self.instances.rows(key, &request.page_token, query.size);
            let last = rows.last().map(|row| row.id.clone());
            answer.next_page_token = last.filter(|_| has_more).unwrap_or_default();
            answer.instances = rows.into_iter().map(instance).collect();
        }
        if let Some(key) = query.service.as_ref().filter(|_| request.include_history) {
            let points = self.instances.history(key, query.window.unwrap_or(DEFAULT_HISTORY));
            answer.history = points.into_iter().map(|point| self.point(&point)).collect();
        }
        answer.totals = stats::totals(&stats);
        answer.stats = Some(stats);
        answer.stale_for = self.stale_for();
        Ok(answer)
    }

    fn point(&self, point: &Point) -> v1::HistoryPoint {
        let since_start = i64::try_from(point.begin.as_secs()).unwrap_or(i64::MAX);
        let seconds = self.started.seconds().saturating_add(since_start);
        v1::HistoryPoint {
            begin_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            calls: Some(figures::of(&point.activity, point.length)),
        }
    }
}

fn instance(row: Row) -> v1::InstanceStats {
    v1::InstanceStats {
        instance_id: row.id,
        application: row.application,
        calls: row.activity.map(|activity| figures::of(&activity, row.connected)),
        breaker_state: row.breaker.map(breaker_state_to_wire).unwrap_or_default().into(),
        health_status: row.health.map(health_to_wire).unwrap_or_default().into(),
        applied_revision: row.applied.map(revision_to_wire),
        connected_for: Some(duration_to_wire(row.connected)),
        last_report_age: row.reported.map(duration_to_wire),
    }
}

fn window(window: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(window) = window else { return Ok(None) };
    let read = duration_from_wire(window).ok().filter(|window| !window.is_zero() && *window <= LONGEST_WINDOW);
    read.map(Some).ok_or_else(|| Error::invalid("window", "must be above 0 and at most 24 h".to_owned()))
}
