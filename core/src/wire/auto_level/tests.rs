use super::*;
use crate::wire::testing::{alternative, cached, policy, secs, with_chain};
use crate::wire::{Origin, TracedPolicy, inactive_fields, to_wire};
use proptest::prelude::*;

fn auto(written: v1::IsolationPolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { level: v1::IsolationLevel::Auto.into(), ..written }
}

/// The level that is in force, and what `explain` says of where it comes from.
fn chosen(written: v1::IsolationPolicy) -> (Level, String) {
    let written = auto(written);
    let traced = TracedPolicy::new(&written).unwrap();
    assert_eq!(*traced.policy(), effective_policy(&written).unwrap());
    match traced.origin("level", None) {
        Origin::Auto(because) => (traced.policy().level, because),
        other => panic!("{other:?}"),
    }
}

fn blocks() -> Vec<(&'static str, v1::IsolationPolicy, Level)> {
    let none = v1::IsolationPolicy::default;
    let breaker = |breaker| v1::IsolationPolicy { circuit_breaker: Some(breaker), ..none() };
    let ramp = v1::CircuitBreakerPolicy { ramp_duration: Some(secs(9)), ..Default::default() };
    let methods = |policy| {
        let entry = v1::MethodOverride { glob: "*".to_owned(), policy: Some(policy), ..Default::default() };
        v1::IsolationPolicy { method_overrides: vec![entry], ..none() }
    };
    let rate = v1::RateLimitPolicy { permits: 5, ..Default::default() };
    let rate = || v1::IsolationPolicy { rate_limit: Some(rate), ..none() };
    let retry = || v1::IsolationPolicy { retry: Some(Default::default()), ..none() };
    vec![
        ("", none(), Level::Basic),
        ("", v1::IsolationPolicy { timeout: Some(Default::default()), ..none() }, Level::Basic),
        ("", v1::IsolationPolicy { classification: Some(Default::default()), ..none() }, Level::Basic),
        ("", v1::IsolationPolicy { health: Some(Default::default()), ..none() }, Level::Basic),
        ("", with_chain(vec![cached()]), Level::Basic),
        ("", methods(with_chain(vec![cached()])), Level::Basic),
        ("fallback.chain[1].alternative", with_chain(vec![cached(), alternative("b")]), Level::Enhanced),
        ("circuit_breaker", breaker(Default::default()), Level::Enhanced),
        ("retry", retry(), Level::Enhanced),
        ("fleet_hint", v1::IsolationPolicy { fleet_hint: Some(Default::default()), ..none() }, Level::Enhanced),
        ("method_overrides[0].policy.retry", methods(retry()), Level::Enhanced),
        ("circuit_breaker.ramp_duration", breaker(ramp), Level::Full),
        ("hedge", v1::IsolationPolicy { hedge: Some(Default::default()), ..none() }, Level::Full),
        ("bulkhead", v1::IsolationPolicy { bulkhead: Some(Default::default()), ..none() }, Level::Full),
        ("adaptive_limit", v1::IsolationPolicy { adaptive_limit: Some(Default::default()), ..none() }, Level::Full),
        ("rate_limit", rate(), Level::Full),
        ("method_overrides[0].policy.rate_limit", methods(rate()), Level::Full),
    ]
}

#[test]
fn each_block_raises_the_level_to_where_it_is_in_force_and_is_named() {
    for (because, written, level) in blocks() {
        assert_eq!(chosen(written.clone()), (level, because.to_owned()), "{written:?}");
    }
}

#[test]
fn the_highest_counts_and_what_asks_for_it_is_named_but_not_all_of_many() {
    let both = v1::IsolationPolicy {
        retry: Some(Default::default()),
        bulkhead: Some(Default::default()),
        ..Default::default()
    };
    assert_eq!(chosen(both), (Level::Full, "bulkhead".to_owned()));
    let retry = || v1::IsolationPolicy { retry: Some(Default::default()), ..Default::default() };
    let entry =
        |number: usize| v1::MethodOverride { glob: format!("*/{number}"), policy: Some(retry()), ..Default::default() };
    let many = v1::IsolationPolicy { method_overrides: (0..6).map(entry).collect(), ..retry() };
    let path = |number: usize| format!("method_overrides[{number}].policy.retry");
    let named = format!("retry, {}, {}, {} and 3 more", path(0), path(1), path(2));
    assert_eq!(chosen(many), (Level::Enhanced, named));
}

#[test]
fn what_a_preset_states_counts_and_its_own_level_is_the_least() {
    let pools = |preset: Preset| (Level::Full, format!("bulkhead of preset {preset}"));
    for preset in Preset::ALL {
        let written = v1::IsolationPolicy { preset: preset.name().to_owned(), ..Default::default() };
        let expected = match preset {
            Preset::Database | Preset::Auth => pools(preset),
            _ => (Level::Enhanced, format!("preset {preset}")),
        };
        assert_eq!(chosen(written.clone()), expected, "{preset}");
        let rate_limit = Some(v1::RateLimitPolicy { permits: 5, ..Default::default() });
        let (level, because) = chosen(v1::IsolationPolicy { rate_limit, ..written });
        assert_eq!((level, because.split(',').next()), (Level::Full, Some("rate_limit")), "{preset}");
    }
}

#[test]
fn an_override_has_no_level_of_its_own() {
    let policy = Some(auto(v1::IsolationPolicy::default()));
    let entry = v1::MethodOverride { glob: "*".to_owned(), policy, ..Default::default() };
    let written = v1::IsolationPolicy { method_overrides: vec![entry], ..Default::default() };
    let invalid = effective_policy(&written).unwrap_err();
    assert_eq!(invalid.violations()[0].path, "method_overrides[0].policy.level");
}

/// Policies with any of their sections.
fn written() -> impl Strategy<Value = v1::IsolationPolicy> {
    let presets = prop::sample::select(Preset::ALL.map(Preset::name).into_iter().chain([""]).collect::<Vec<_>>());
    (policy(), prop::array::uniform9(any::<bool>()), presets).prop_map(|(policy, keeps, preset)| {
        let mut written = v1::IsolationPolicy { preset: preset.to_owned(), ..to_wire(&policy) };
        let [timeout, breaker, retry, hedge, bulkhead, adaptive, rate, fallback, overrides] = keeps;
        written.timeout = written.timeout.filter(|_| timeout);
        written.circuit_breaker = written.circuit_breaker.filter(|_| breaker);
        written.retry = written.retry.filter(|_| retry);
        written.hedge = written.hedge.filter(|_| hedge);
        written.bulkhead = written.bulkhead.filter(|_| bulkhead);
        written.adaptive_limit = written.adaptive_limit.filter(|_| adaptive);
        written.rate_limit = written.rate_limit.filter(|_| rate);
        written.fallback = written.fallback.filter(|_| fallback);
        written.fleet_hint = None;
        if !overrides {
            written.method_overrides.clear();
        }
        written
    })
}

proptest! {
    /// The one table says so: nothing that was written is without effect, and one level below something would be, or it is
    /// the least that there is.
    #[test]
    fn nothing_that_was_written_is_inactive_and_below_something_is(written in written()) {
        let Ok(policy) = effective_policy(&auto(written.clone())) else { return Ok(()) };
        prop_assert_eq!(inactive_fields(&written, policy.level), [""; 0]);
        let unsaid = effective_policy(&v1::IsolationPolicy { level: 0, ..written.clone() }).unwrap().level;
        prop_assert!(policy.level >= unsaid);
        let below = Level::ALL.into_iter().rfind(|level| *level < policy.level);
        if let Some(below) = below.filter(|below| *below >= unsaid) {
            let is_presets = written.preset == "database" || written.preset == "auth";
            prop_assert!(is_presets || !inactive_fields(&written, below).is_empty());
        }
    }

    /// Saying the level that follows is the same policy: what is pushed never says auto.
    #[test]
    fn the_level_that_follows_said_by_name_is_the_same_policy(written in written()) {
        let Ok(policy) = effective_policy(&auto(written.clone())) else { return Ok(()) };
        let wire = to_wire(&policy);
        prop_assert_ne!(wire.level(), v1::IsolationLevel::Auto);
        let said = v1::IsolationPolicy { level: wire.level, ..written };
        prop_assert_eq!(effective_policy(&said).unwrap(), policy);
    }
}
