//! GetIsolationStats: sums over services, and pages of services, or of one service's instances.
//!
//! A page goes on after the last name of the one before, as those of ListIsolatedServices do. Sums are over all that was
//! asked about, whatever the page. Asking changes nothing.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_core::{
    name::{Name, ServiceKey},
    wire::{breaker_state_to_wire, duration_from_wire, duration_to_wire, health_to_wire, revision_to_wire},
};
use cofferdam_proto::v1;
use prost::Message;

use super::{
    IsolationApi,
    collect::Question,
    figures, marks,
    page::{MAX_BYTES, page_size, read_token},
    stats,
};
use crate::{
    error::Error,
    instances::{LONGEST_WINDOW, Row},
    peers::{Slot, TotalScope},
    registry::validate,
};

/// What the history is shown of where no window is asked for.
pub(crate) const DEFAULT_HISTORY: Duration = Duration::from_secs(3600);

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
            text => validate::namespaces(text)?,
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

    /// What the sums are over.
    fn scope(&self) -> TotalScope {
        match (&self.service, &self.namespace) {
            (Some(key), _) => TotalScope::Service(key.clone()),
            (None, Some(namespace)) => TotalScope::Namespace(namespace.clone()),
            (None, None) => TotalScope::All,
        }
    }
}

impl IsolationApi {
    pub(super) async fn stats(
        &self,
        request: &v1::GetIsolationStatsRequest,
    ) -> Result<v1::GetIsolationStatsResponse, Error> {
        let query = Query::read(request)?;
        if !request.page_token.is_empty() && !request.include_services && !request.include_instances {
            let alone = "goes with include_services or include_instances: without them there is one page";
            return Err(Error::invalid("page_token", alone));
        }
        let registry = &self.local.registry;
        let pages_services = query.service.is_none() && request.include_services;
        let listed = match &query.service {
            Some(key) => vec![registry.describe(key)?.0],
            None if !pages_services => Vec::new(),
            None => {
                let token = Some(request.page_token.as_str()).filter(|token| !token.is_empty());
                let after = token.map(read_token).transpose()?;
                // One more, to know whether there is one.
                registry.services_after(query.namespace.as_ref(), after.as_ref(), query.size + 1)
            }
        };
        // Whoever asks for a later page has them: to sum up all services for each page would take longer than the page.
        let is_first = request.page_token.is_empty();
        let totals = is_first.then(|| query.scope());
        let summed = totals.as_ref().map(|scope| self.local.in_scope(scope)).unwrap_or_default();
        let rows = request.include_instances.then(|| (request.page_token.clone(), query.size));
        let question = Question {
            services: listed,
            window: query.window,
            totals,
            summed,
            rows,
            includes_history: request.include_history,
            includes_rejections: false,
        };
        let collected = self.collect(&question).await;
        let mut answer = v1::GetIsolationStatsResponse::default();
        let (mut bytes, mut last) = (0, None);
        for (registered, part) in question.services.iter().zip(&collected.services) {
            let stats = self.stats_of(registered, part, collected.period);
            bytes += stats.encoded_len();
            let is_full = answer.services.len() == query.size || bytes > MAX_BYTES;
            if let Some(last) = last.filter(|_| pages_services && is_full) {
                answer.next_page_token = ServiceKey::to_string(last);
                break;
            }
            last = Some(registered.key());
            answer.services.push(stats);
        }
        if is_first {
            let now = registry.wall_time();
            let mut stats = stats::of_all(&question.summed, &collected.totals, collected.period.0, now);
            if let [service] = &answer.services[..]
                && query.service.is_some()
            {
                stats.instances = service.instances;
            }
            answer.totals = stats::totals(&stats);
            answer.stats = Some(stats);
        }
        if request.include_instances {
            answer.next_page_token = collected.rows_token;
            answer.instances = collected.rows;
        }
        let point = |slot: &Slot| v1::HistoryPoint {
            begin_time: Some(prost_types::Timestamp { seconds: slot.begin, nanos: 0 }),
            calls: Some(figures::of(&slot.activity, slot.length)),
            revisions: Vec::new(),
        };
        answer.history = collected.history.iter().map(point).collect();
        if let Some(key) = query.service.as_ref().filter(|_| request.include_history) {
            // Who asks for figures gets them, whether the store is there or not.
            let made = registry.change_times(key).await.unwrap_or_default();
            let window = query.window.unwrap_or(DEFAULT_HISTORY);
            marks::put(&mut answer.history, &made, window, registry.wall_time());
        }
        answer.stale_for = self.stale_for();
        answer.unreachable_managers = collected.unreachable;
        env!("CARGO_PKG_VERSION").clone_into(&mut answer.manager_version);
        Ok(answer)
    }
}

pub(crate) fn instance(row: Row) -> v1::InstanceStats {
    v1::InstanceStats {
        instance_id: row.id,
        application: row.application,
        calls: row.activity.map(|activity| figures::of(&activity, row.connected)),
        breaker_state: row.breaker.map(breaker_state_to_wire).unwrap_or_default().into(),
        health_status: row.health.map(health_to_wire).unwrap_or_default().into(),
        applied_revision: row.applied.map(|(revision, _)| revision_to_wire(revision)),
        applied_policy_hash: row.applied.map(|(_, hash)| Bytes::copy_from_slice(hash.as_bytes())).unwrap_or_default(),
        connected_for: Some(duration_to_wire(row.connected)),
        last_report_age: row.reported.map(duration_to_wire),
        held_breakers: row.held,
        sdk: row.sdk,
    }
}

pub(crate) fn window(window: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(window) = window else { return Ok(None) };
    let read = duration_from_wire(window).ok().filter(|window| !window.is_zero() && *window <= LONGEST_WINDOW);
    read.map(Some).ok_or_else(|| Error::invalid("window", "must be above 0 and at most 24 h".to_owned()))
}
