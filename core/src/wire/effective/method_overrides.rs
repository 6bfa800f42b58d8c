use super::super::faults::Faults;
use super::super::origin::{Said, Word};
use super::merge::Merge;
use super::read_sections;
use crate::glob::method_name;
use crate::policy::limits::MAX_OVERRIDES;
use crate::policy::{BudgetPolicy, MethodOverride, PolicySpec};
use cofferdam_proto::v1;

/// Reads the overrides. A section that one replaces starts from where the policy's own did: from the preset's values, or
/// the defaults; the budget of a replaced retry section is the service's.
pub(super) fn read(
    merge: &mut Merge,
    written: &[v1::MethodOverride],
    base: &PolicySpec,
    budget: BudgetPolicy,
) -> (Vec<MethodOverride>, Vec<Said>) {
    if written.is_empty() {
        return Default::default();
    }
    let mut base = base.clone();
    base.bulkhead.pools.clear();
    base.retry.budget = budget;
    // One too many is enough for the check to refuse the list.
    let entries = written.iter().take(MAX_OVERRIDES + 1).enumerate();
    entries.map(|(index, entry)| read_override(merge, &format!("method_overrides[{index}]"), entry, &base)).unzip()
}

fn read_override(
    merge: &mut Merge,
    path: &str,
    written: &v1::MethodOverride,
    base: &PolicySpec,
) -> (MethodOverride, Said) {
    let v1::MethodOverride { glob, idempotent, policy } = written;
    // Without the slash that says nothing: what a part has learned is found again by its glob.
    let glob = method_name(glob).to_owned();
    let entry = MethodOverride { glob, is_idempotent: *idempotent, ..MethodOverride::default() };
    let Some(policy) = policy else {
        return (entry, Said::default());
    };
    let mut inner = Merge::new(merge.notes());
    refuse_the_services_own(&mut inner, policy);
    let mut spec = base.clone();
    read_sections(&mut inner, policy, &mut spec);
    spec.bulkhead.pools.clear();
    spec.retry.budget = base.retry.budget;
    inner.note("retry.budget", Word::TheServices);
    let (faults, said) = inner.finish();
    merge.append(&format!("{path}.policy"), faults);
    let entry = MethodOverride {
        timeout: policy.timeout.is_some().then_some(spec.timeout),
        breaker: policy.circuit_breaker.is_some().then_some(spec.breaker),
        classification: policy.classification.is_some().then_some(spec.classification),
        retry: policy.retry.is_some().then_some(spec.retry),
        hedge: policy.hedge.is_some().then_some(spec.hedge),
        bulkhead: policy.bulkhead.is_some().then_some(spec.bulkhead),
        adaptive_limit: policy.adaptive_limit.is_some().then_some(spec.adaptive_limit),
        rate_limit: policy.rate_limit.is_some().then_some(spec.rate_limit),
        fallback: policy.fallback.is_some().then_some(spec.fallback),
        ..entry
    };
    (entry, said)
}

fn refuse_the_services_own(faults: &mut Faults, written: &v1::IsolationPolicy) {
    let mut refuse = |asks: bool, path: &str, remedy: &str| {
        if asks {
            faults.invalid(path, format_args!("must be unset in an override: {remedy}"));
        }
    };
    let unspecified = i32::from(v1::IsolationLevel::Unspecified);
    refuse(written.level != unspecified, "level", "the level is the service's, turn sections off one by one");
    refuse(!written.preset.is_empty(), "preset", "name it in the policy itself, or write its numbers here");
    let budget = written.retry.as_ref().is_some_and(|retry| retry.budget.is_some());
    refuse(budget, "retry.budget", "the service's methods share one, set it in the policy's own retry section");
    let pools = written.bulkhead.as_ref().is_some_and(|bulkhead| !bulkhead.pools.is_empty());
    refuse(pools, "bulkhead.pools", "pools are the service's, and a bulkhead here is one for all methods that match");
    refuse(written.health.is_some(), "health", "health is of the service as a whole, set it in the policy itself");
    let hint = "hints are about the service's own breaker, set it in the policy itself";
    refuse(written.fleet_hint.is_some(), "fleet_hint", hint);
    let overrides = &written.method_overrides;
    refuse(!overrides.is_empty(), "method_overrides", "overrides do not nest, add one before this one instead");
}
