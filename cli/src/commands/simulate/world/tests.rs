use super::*;
use crate::output::Style;
use cofferdam_core::level::Level;
use cofferdam_core::policy::{BreakerPolicy, FallbackPolicy, FallbackStep, PolicySpec, RetryPolicy, StaticFallback};
use std::fmt::Write as _;

fn policy(spec: PolicySpec) -> Policy {
    let breaker = BreakerPolicy { consecutive_failures: 3, open_jitter_ratio: 0.0, ..spec.breaker };
    Policy::new(PolicySpec { level: Level::Enhanced, breaker, ..spec }).unwrap()
}

/// A call a second: good for five seconds, then failing for thirty, then good.
fn outage() -> Arc<Trace> {
    let mut text = String::new();
    for second in 0..60 {
        let code = if (5..35).contains(&second) { 14 } else { 0 };
        writeln!(text, "{{\"at\": {second}, \"latency\": \"10ms\", \"code\": {code}}}").unwrap();
    }
    Arc::new(Trace::read(text.as_bytes()).unwrap())
}

fn told(report: &Report) -> String {
    let mut out = Vec::new();
    report.tell(100, Style::new(false, false), &mut out).unwrap();
    report.totals().print(&mut out, Style::new(false, false)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_outage_is_told_as_the_engine_has_it() {
    let told = told(&run(policy(PolicySpec::default()), &outage(), 1));
    let expected = "     7.010s  breaker of service: closed -> open, consecutive_failures
     8.000s  30 calls rejected until 37.000s: the breaker is open
    38.000s  breaker of service: open -> half-open, open_elapsed
    39.010s  breaker of service: half-open -> closed, probes_succeeded
";
    let head: String = told.lines().take(4).map(|line| format!("{line}\n")).collect();
    assert_eq!(head, expected, "{told}");
    assert!(told.contains("answered by the service         27 (45.0%)"), "{told}");
}

#[test]
fn a_fallback_answers_what_the_breaker_rejects() {
    let chain = vec![FallbackStep::Static(StaticFallback::default())];
    let fallback = FallbackPolicy { chain, enabled: true, ..FallbackPolicy::default() };
    let report = run(policy(PolicySpec { fallback, ..PolicySpec::default() }), &outage(), 1);
    let told = told(&report);
    assert!(told.contains("rejected until 37.000s: the breaker is open, 30 answered by a fallback"), "{told}");
    assert!(told.contains("failed                          0 (0.0%)"), "{told}");
}

#[test]
fn the_same_seed_tells_the_same() {
    let spec = PolicySpec {
        retry: RetryPolicy { only_idempotent: false, max_attempts: 5, ..RetryPolicy::default() },
        ..PolicySpec::default()
    };
    let [one, same, other] = [1, 1, 2].map(|seed| told(&run(policy(spec.clone()), &outage(), seed)));
    assert_eq!(one, same);
    assert_ne!(one, other, "pauses are drawn at random");
}

#[test]
fn ten_thousand_calls_at_once_all_end() {
    let text: String = (0..10_000).map(|_| "{\"at\": 0, \"latency\": 1, \"code\": 0}\n").collect();
    let trace = Arc::new(Trace::read(text.as_bytes()).unwrap());
    let told = told(&run(policy(PolicySpec::default()), &trace, 1));
    assert!(told.contains("answered by the service         10000 (100.0%)"), "{told}");
    assert!(told.starts_with("no breaker moved"), "{told}");
}
