use super::*;
use crate::testing::{fallback, static_step};

fn state(policy: v1::IsolationPolicy) -> storage::ServiceRecord {
    let service = v1::Service { name: "payments".to_owned(), ..v1::Service::default() };
    storage::ServiceRecord { service: Some(service), policy: Some(policy), ..storage::ServiceRecord::default() }
}

fn attempts(max_attempts: u32) -> v1::IsolationPolicy {
    let retry = v1::RetryPolicy { max_attempts: Some(max_attempts), ..v1::RetryPolicy::default() };
    v1::IsolationPolicy { retry: Some(retry), ..v1::IsolationPolicy::default() }
}

fn told(before: Option<&storage::ServiceRecord>, after: Option<&storage::ServiceRecord>) -> Vec<String> {
    let found = Difference::between(before, after);
    let text = |value: Option<String>| value.unwrap_or_else(|| "unset".to_owned());
    found.changes.into_iter().map(|c| format!("{}: {} -> {}", c.path, text(c.before), text(c.after))).collect()
}

#[test]
fn each_field_is_told_by_its_path() {
    let (three, five) = (state(attempts(3)), state(attempts(5)));
    assert_eq!(told(Some(&three), Some(&five)), ["retry.max_attempts: 3 -> 5"]);
    assert!(told(Some(&three), Some(&three)).is_empty());

    let mut changed = five.clone();
    let policy = changed.policy.as_mut().unwrap();
    policy.set_level(v1::IsolationLevel::Full);
    policy.retry = None;
    let call_timeout = Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 });
    policy.timeout = Some(v1::TimeoutPolicy { call_timeout, ..v1::TimeoutPolicy::default() });
    policy.fallback =
        Some(v1::FallbackPolicy { chain: fallback(vec![static_step(b"later")]).chain, ..Default::default() });
    let service = changed.service.as_mut().unwrap();
    service.endpoints.push(v1::Endpoint { address: "127.0.0.1:1".to_owned() });
    service.labels.insert("tier".to_owned(), "1".to_owned());
    changed.insisted = true;
    assert_eq!(
        told(Some(&five), Some(&changed)),
        [
            "fallback.chain[0].static.payload: unset -> bGF0ZXI=",
            "level: unset -> ISOLATION_LEVEL_FULL",
            "retry.max_attempts: 5 -> unset",
            "timeout.call_timeout: unset -> 1.500s",
            "service.endpoints[0].address: unset -> 127.0.0.1:1",
            "service.labels.tier: unset -> 1",
            "insisted: false -> true",
        ]
    );
}

#[test]
fn an_empty_section_is_not_an_unset_one() {
    let empty = v1::IsolationPolicy { hedge: Some(v1::HedgePolicy::default()), ..v1::IsolationPolicy::default() };
    assert_eq!(told(Some(&state(Default::default())), Some(&state(empty))), ["hedge: unset -> {}"]);
}

#[test]
fn what_is_not_set_is_told_with_what_is_in_force_in_its_place() {
    let level = |preset: &str, level: v1::IsolationLevel| {
        let mut policy = v1::IsolationPolicy { preset: preset.to_owned(), ..v1::IsolationPolicy::default() };
        policy.set_level(level);
        state(policy)
    };
    let change = |before, after| Difference::between(Some(&before), Some(&after)).changes.remove(0);
    let raised = change(level("", v1::IsolationLevel::Unspecified), level("", v1::IsolationLevel::Full));
    assert_eq!((raised.before, raised.before_default.as_deref()), (None, Some("ISOLATION_LEVEL_BASIC")));
    assert_eq!((raised.after.as_deref(), raised.after_default), (Some("ISOLATION_LEVEL_FULL"), None));
    let cleared = change(level("stripe", v1::IsolationLevel::Full), level("stripe", v1::IsolationLevel::Unspecified));
    assert_eq!((cleared.after, cleared.after_default.as_deref()), (None, Some("ISOLATION_LEVEL_ENHANCED")));
    let come = Difference::between(None, Some(&state(attempts(3)))).changes.remove(1);
    assert_eq!((&*come.path, come.before_default), ("retry.max_attempts", None), "nothing was in force");
}

#[test]
fn a_level_that_is_left_to_the_policy_is_told_with_the_one_that_followed() {
    let auto = |hedge: Option<v1::HedgePolicy>| {
        let mut policy = v1::IsolationPolicy { hedge, ..v1::IsolationPolicy::default() };
        policy.set_level(v1::IsolationLevel::Auto);
        state(policy)
    };
    let hedge = v1::HedgePolicy { max_extra: Some(2), ..v1::HedgePolicy::default() };
    let (low, high) = (auto(None), auto(Some(hedge)));
    let told = |before, after| {
        let found = Difference::between(Some(before), Some(after));
        found.changes.into_iter().map(|c| [c.before, c.before_default, c.after, c.after_default]).collect::<Vec<_>>()
    };
    let level = |name: &str| Some(format!("ISOLATION_LEVEL_{name}"));
    let raised = told(&low, &high);
    assert_eq!(raised[0], [None, Some("1".to_owned()), Some("2".to_owned()), None], "hedge.max_extra");
    assert_eq!(raised[1..], [[level("AUTO"), level("BASIC"), level("AUTO"), level("FULL")]]);
    let mut said = low.clone();
    said.policy.as_mut().unwrap().set_level(v1::IsolationLevel::None);
    assert_eq!(told(&said, &low), [[level("NONE"), None, level("AUTO"), level("BASIC")]]);
    assert!(told(&high, &high).is_empty());
}

#[test]
fn coming_and_going_are_told() {
    let there = state(attempts(3));
    assert_eq!(told(None, Some(&there)), ["registered: false -> true", "retry.max_attempts: unset -> 3"]);
    assert_eq!(told(Some(&there), None), ["registered: true -> false", "retry.max_attempts: 3 -> unset"]);
}

#[test]
fn what_is_told_is_bounded() {
    let mut many = state(v1::IsolationPolicy::default());
    let service = many.service.as_mut().unwrap();
    service.description = "é".repeat(300);
    service.labels = (0..100).map(|label| (format!("label-{label:03}"), String::new())).collect();
    let found = Difference::between(Some(&state(v1::IsolationPolicy::default())), Some(&many));
    assert_eq!((found.changes.len(), found.more), (64, 37));
    let described = found.changes[0].after.as_ref().unwrap();
    assert!(described.len() <= 256 && described.ends_with("é... and more"), "{described}");
}
