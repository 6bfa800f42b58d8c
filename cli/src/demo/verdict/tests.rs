use super::super::measure::{Pair, Purpose, Scene, Tally};
use super::*;
use std::time::Duration;

/// What one group did in a phase of one second.
fn tally(live: u64, fallback: u64, failed: u64, latency: Duration, arrivals: u64, peak: u64) -> Tally {
    let mut tally = Tally::default();
    (tally.arrivals, tally.peak_in_flight) = (arrivals, peak);
    for (served, count) in [(Served::Live, live), (Served::Static, fallback), (Served::Nobody, failed)] {
        (0..count).for_each(|_| tally.count(served, latency));
    }
    tally
}

/// The numbers of a demo in which all went as it should.
fn good() -> Vec<Phase> {
    let quick = Duration::from_millis(6);
    let phase = |(index, step): (usize, &super::super::script::Step)| {
        let (unprotected, protected) = match (step.fault, step.level) {
            (Fault::Healthy | Fault::Flaky, _) => (tally(50, 0, 0, quick, 50, 2), tally(50, 0, 0, quick, 50, 2)),
            (Fault::Broken, Level::None) => (tally(0, 0, 50, quick, 200, 4), tally(0, 0, 50, quick, 50, 2)),
            (Fault::Broken, Level::Basic) => (tally(0, 0, 50, quick, 200, 4), tally(0, 50, 0, quick, 50, 2)),
            (Fault::Broken, _) => (tally(0, 0, 50, quick, 200, 4), tally(0, 50, 0, quick, 10, 2)),
            (Fault::Slow, _) => {
                (tally(50, 0, 0, Duration::from_secs(2), 50, 50), tally(0, 50, 0, Duration::from_millis(400), 20, 16))
            }
        };
        let whole = Pair { unprotected, protected };
        Phase {
            scene: Scene { level: step.level, fault: step.fault, purpose: Purpose::Step(index) },
            duration: Duration::from_secs(1),
            late: whole.clone(),
            whole,
            breakers: String::new(),
        }
    };
    STEPS.iter().enumerate().map(phase).collect()
}

fn step(title: &str) -> usize {
    STEPS.iter().position(|step| step.title == title).unwrap()
}

/// What the judge says when one step went otherwise.
fn with(title: &str, change: impl FnOnce(&mut Phase)) -> Vec<String> {
    let mut phases = good();
    change(&mut phases[step(title)]);
    match judge(&phases) {
        Verdict::DidNotHelp(findings) => findings.iter().map(ToString::to_string).collect(),
        Verdict::Helped | Verdict::NotJudged => Vec::new(),
    }
}

const QUICK: Duration = Duration::from_millis(6);

#[test]
fn good_numbers_pass() {
    assert_eq!(judge(&good()), Verdict::Helped);
}

#[test]
fn a_protected_user_who_sees_errors_is_found() {
    for title in ["basic", "enhanced", "full"] {
        let findings = with(title, |phase| phase.whole.protected.count(Served::Nobody, QUICK));
        assert_eq!(findings.len(), 1, "{title}: {findings:?}");
        assert!(findings[0].ends_with("answered should be at least 99 % and was 98.0 %"), "{}", findings[0]);
    }
}

#[test]
fn an_upstream_that_was_not_broken_is_found() {
    for title in ["breaks", "basic", "enhanced"] {
        let findings = with(title, |phase| phase.whole.unprotected = tally(40, 0, 10, QUICK, 50, 2));
        assert!(findings[0].contains("share of unprotected calls answered should be below 50 %"), "{findings:?}");
    }
}

#[test]
fn a_level_none_that_protects_is_found() {
    let findings = with("breaks", |phase| phase.whole.protected = tally(0, 50, 0, QUICK, 50, 2));
    assert_eq!(findings, ["step breaks: the share of protected calls answered should be below 50 % and was 100.0 %"]);
}

#[test]
fn a_breaker_that_does_not_open_is_found() {
    let findings = with("enhanced", |phase| phase.whole.protected.arrivals = 50);
    assert_eq!(
        findings,
        ["step enhanced: the protected load as a share of the unprotected one should be below 25 % and was 25.0 %"]
    );
}

#[test]
fn a_breaker_that_does_not_close_is_found() {
    for title in ["heals", "recovers"] {
        let findings = with(title, |phase| phase.late.protected = tally(0, 50, 0, QUICK, 0, 0));
        assert!(findings[0].ends_with("second half should be at least 95 % and was 0.0 %"), "{findings:?}");
    }
}

#[test]
fn calls_that_wait_for_a_slow_upstream_are_found() {
    let findings = with("full", |phase| phase.whole.protected = tally(50, 0, 0, Duration::from_secs(2), 50, 50));
    assert!(findings[0].contains("protected p99"), "{findings:?}");
    assert!(findings[1].contains("peak in flight"), "{findings:?}");
}

#[test]
fn too_few_calls_are_no_proof() {
    let findings = with("heals", |phase| {
        phase.whole.unprotected = tally(9, 0, 0, QUICK, 9, 1);
        phase.late.protected = Tally::default();
    });
    assert_eq!(
        findings,
        [
            "step heals: the number of unprotected calls should be at least 10 and was 9",
            "step heals: the share of protected calls answered live in its second half should be at least 95 % and was \
             not measured",
        ]
    );
}

#[test]
fn a_script_that_was_not_played_to_its_end_is_not_judged() {
    let mut phases = good();
    phases.pop();
    assert_eq!(judge(&phases), Verdict::NotJudged);
}

#[test]
fn a_disturbed_phase_is_not_judged_and_its_repetition_is() {
    let mut phases = good();
    let mut bad = phases[step("basic")].clone();
    bad.whole.protected = tally(0, 0, 50, QUICK, 50, 2);
    bad.scene.purpose = Purpose::ByHand;
    phases.insert(step("basic"), bad);
    assert_eq!(judge(&phases), Verdict::Helped);
}
