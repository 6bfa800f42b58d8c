//! Explain: what calls go by, and why.
//!
//! Nothing is worked out here a second time. Where values come from is what the merge noted that made the policy, which
//! breaker a call meets is the engine's own answer, and who lags is GetConvergence's.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_core::{
    isolation::{Isolation, Part, Unobserved},
    level::Level,
    name::ServiceKey,
    orders::TemporaryLevel,
    policy::{Policy, PolicySpec},
    time::{Clocks, Timestamp},
    wire::{
        Origin, TracedPolicy, hold_to_wire, level_to_wire, needed_levels, part_to_wire, revision_to_wire,
        temporary_level_to_wire, to_wire_whole,
    },
};
use cofferdam_proto::v1;

use super::{
    IsolationApi,
    collect::{Collected, Question},
    orders,
};
use crate::{
    error::Error,
    instances::newest_rejections,
    registry::{Registered, validate, values},
};

const MAX_METHOD_BYTES: usize = 512;
/// How many laggards are looked through for an instance, and how many are shown.
const LAGGARDS: u32 = 1_000;
const SHOWN_LAGGARDS: usize = 100;
/// How many names are offered in the place of one that is not known.
const OFFERED: usize = 10;

impl IsolationApi {
    pub(super) async fn explain(&self, request: &v1::ExplainRequest) -> Result<v1::ExplainResponse, Error> {
        let key = validate::target(&request.namespace, &request.service)?;
        let mut faults = validate::Faults::default();
        faults.text("method", &request.method, MAX_METHOD_BYTES);
        if !faults.is_empty() {
            return Err(faults.into_error());
        }
        let (registered, _) = self.local.registry.describe(&key)?;
        let mut answer = self.explain_policy(request, &registered)?;
        let question = v1::GetConvergenceRequest {
            namespace: request.namespace.clone(),
            service: request.service.clone(),
            max_laggards: LAGGARDS,
            ..Default::default()
        };
        let asked = Question {
            rows: Some((just_before(&request.instance_id), OFFERED)),
            services: vec![Arc::clone(&registered)],
            includes_rejections: true,
            ..Question::default()
        };
        // At once: a manager that does not answer is waited for once.
        let (convergence, collected) = tokio::join!(self.convergence(&question), self.collect(&asked));
        let convergence = convergence?;
        let mut standing = convergence.services.into_iter().next().unwrap_or_default();
        if !request.instance_id.is_empty() {
            answer.instance = Some(instance(&key, &request.instance_id, &standing, &collected)?);
        }
        let concerns = |call: &v1::RejectedCall| concerns(request, answer.breaker.as_ref(), call);
        answer.rejections = newest_rejections(collected.rejections.into_iter().filter(concerns).collect());
        let part = collected.services.into_iter().next().unwrap_or_default();
        answer.fleet_hint = self.stats_of(&registered, &part, collected.period).fleet_hint;
        let left_out = standing.laggards.len().saturating_sub(SHOWN_LAGGARDS);
        standing.laggards.truncate(SHOWN_LAGGARDS);
        standing.laggards_left_out += u32::try_from(left_out).unwrap_or(u32::MAX);
        answer.convergence = Some(standing);
        answer.stale_for = self.stale_for();
        answer.unreachable_managers = convergence.unreachable_managers;
        Ok(answer)
    }

    fn explain_policy(
        &self,
        request: &v1::ExplainRequest,
        registered: &Registered,
    ) -> Result<v1::ExplainResponse, Error> {
        // It was checked when it was read.
        let traced = TracedPolicy::new(registered.written_policy())
            .map_err(|invalid| Error::Internal { detail: invalid.to_string() })?;
        let now = self.local.registry.wall_time();
        let level = registered.level_at(now);
        if !request.pool.is_empty() {
            registered.require_pool(&request.pool)?;
        }
        let number = traced.override_of(&request.method).filter(|_| !request.method.is_empty());
        let entry = number.and_then(|number| traced.policy().method_overrides.get(number));
        let clocks = Clocks { monotonic: Timestamp::ZERO, wall: now };
        let engine = Isolation::new(traced.policy().at_level(level), None, clocks, Arc::new(Unobserved));
        let pool = Some(request.pool.as_str()).filter(|pool| !pool.is_empty());
        let (breaker, pool) = engine.in_force().route(&request.method, pool);
        let at = Some(request.instance_id.as_str()).filter(|id| !id.is_empty());
        let orders = registered.orders();
        let holds = breaker.as_ref().map(|part| orders.holds_over(part, at, now)).unwrap_or_default();
        let temporary = orders.level_in_force(now);
        let mut shown = v1::IsolatedService {
            holds: holds.into_iter().map(hold_to_wire).collect(),
            temporary_level: temporary.map(temporary_level_to_wire),
            ..Default::default()
        };
        orders::show(&mut shown, now);
        Ok(v1::ExplainResponse {
            revision: Some(revision_to_wire(registered.revision())),
            policy_hash: Bytes::copy_from_slice(registered.policy_hash().as_bytes()),
            enabled: registered.is_enabled(),
            level: level_to_wire(level).into(),
            method_glob: entry.map(|entry| entry.glob.clone()).unwrap_or_default(),
            idempotent: entry.and_then(|entry| entry.is_idempotent),
            pool: pool.unwrap_or_default(),
            breaker: breaker.as_ref().map(target),
            fields: fields(&traced, number, level, temporary),
            holds: shown.holds,
            temporary_level: shown.temporary_level,
            ..Default::default()
        })
    }
}

fn target(part: &Part) -> v1::BreakerTarget {
    let (pool, method_glob) = part_to_wire(part);
    v1::BreakerTarget { pool, method_glob, instance_id: String::new() }
}

/// The fields of what calls go by, each with its origin.
fn fields(
    traced: &TracedPolicy,
    number: Option<usize>,
    level: Level,
    temporary: Option<&TemporaryLevel>,
) -> Vec<v1::ExplainedField> {
    let without_overrides =
        || Policy::new(PolicySpec { method_overrides: Vec::new(), ..traced.policy().to_spec() }).ok();
    let policy = number.and_then(|number| traced.policy().overridden(number)).or_else(without_overrides);
    let wire = to_wire_whole(&policy.unwrap_or_default().at_level(level));
    let inactive = needed_levels(&wire, level);
    let glob = number.and_then(|number| traced.policy().method_overrides.get(number)).map(|entry| entry.glob.as_str());
    let explain = |(path, value): (String, String)| {
        let (origin, origin_name) = match (temporary.filter(|_| path == "level"), traced.origin(&path, number)) {
            (Some(level), _) => (v1::OriginKind::TemporaryLevel, level.actor.clone()),
            (None, Origin::Default) => (v1::OriginKind::Default, String::new()),
            (None, Origin::Preset(preset)) => (v1::OriginKind::Preset, preset.to_string()),
            (None, Origin::Written) => (v1::OriginKind::Service, String::new()),
            (None, Origin::Override) => (v1::OriginKind::MethodOverride, glob.unwrap_or_default().to_owned()),
            (None, Origin::Follows(other)) => (v1::OriginKind::Follows, other),
            (None, Origin::Auto(because)) => (v1::OriginKind::AutoLevel, because),
        };
        let needs = inactive.iter().find(|(section, _)| is_in(&path, section)).map(|(_, level)| level_to_wire(*level));
        let needs_level = needs.unwrap_or_default().into();
        v1::ExplainedField { path, value, origin: origin.into(), origin_name, needs_level }
    };
    values::fields("cofferdam.v1.IsolationPolicy", &wire).into_iter().map(explain).collect()
}

/// Whether a path is another one, or of a field in it.
fn is_in(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a call that was turned away has to do with what was asked about.
fn concerns(request: &v1::ExplainRequest, breaker: Option<&v1::BreakerTarget>, call: &v1::RejectedCall) -> bool {
    let v1::ExplainRequest { method, pool, instance_id, .. } = request;
    let name = |method: &str| method.strip_prefix('/').unwrap_or(method).to_owned();
    let is_all = method.is_empty() && pool.is_empty();
    let is_it = (!method.is_empty() && name(method) == name(&call.method)) || (!pool.is_empty() && *pool == call.pool);
    let met = call.breaker.as_ref().zip(breaker);
    let met_it = met.is_some_and(|(met, own)| met.pool == own.pool && met.method_glob == own.method_glob);
    let is_there = instance_id.is_empty() || *instance_id == call.instance_id;
    is_there && (is_all || is_it || met_it)
}

/// Whether an instance has the present policy in force, or a later one.
fn is_at(row: &v1::InstanceStats, standing: &v1::ServiceConvergence) -> bool {
    let order = |revision: Option<v1::Revision>| revision.map(|revision| (revision.epoch, revision.revision));
    order(row.applied_revision) >= order(standing.current_revision)
}

/// A text that comes before an instance's id and after every id before it. Ids are printable ASCII.
fn just_before(id: &str) -> String {
    let mut bytes = id.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.saturating_sub(1);
        bytes.push(0x7f);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where an instance stands: what it says where it holds a stream, and why it lags where it does.
fn instance(
    key: &ServiceKey,
    id: &str,
    standing: &v1::ServiceConvergence,
    collected: &Collected,
) -> Result<v1::ExplainedInstance, Error> {
    let lags = standing.laggards.iter().find(|laggard| laggard.instance_id == id);
    let row = collected.rows.iter().find(|row| row.instance_id == id);
    let state = match (lags, row) {
        (Some(laggard), _) => laggard.state(),
        (None, Some(row)) if standing.laggards_left_out == 0 || is_at(row, standing) => v1::InstanceSyncState::Applied,
        (None, Some(_)) => v1::InstanceSyncState::Pending,
        (None, None) => {
            let known = collected.rows.iter().map(|row| row.instance_id.clone());
            let lagging = standing.laggards.iter().map(|laggard| laggard.instance_id.clone());
            let mut instances: Vec<_> = known.chain(lagging).take(OFFERED).collect();
            instances.sort();
            instances.dedup();
            return Err(Error::InstanceNotFound { key: key.clone(), instance: id.to_owned(), instances });
        }
    };
    let (row, lags) = (row.cloned().unwrap_or_default(), lags.cloned().unwrap_or_default());
    let application = if row.application.is_empty() { lags.application } else { row.application };
    Ok(v1::ExplainedInstance {
        instance_id: id.to_owned(),
        application,
        state: state.into(),
        applied_revision: row.applied_revision.or(lags.applied_revision),
        applied_policy_hash: row.applied_policy_hash,
        reason: lags.reason,
        field_path: lags.field_path,
        age: lags.age,
        breaker_state: row.breaker_state,
        last_report_age: row.last_report_age,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_just_before_an_id_is_after_every_other_one_before_it() {
        let ids = ["a", "checkout-1", "checkout-10", "checkout-2", "checkout-20", "checkout-2a"];
        for (index, id) in ids.iter().enumerate() {
            let before = just_before(id);
            assert!(*before < **id && ids[..index].iter().all(|other| **other < *before), "{id}");
        }
        assert_eq!(just_before(""), "");
    }
}
