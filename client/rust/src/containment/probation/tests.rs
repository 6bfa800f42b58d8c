use super::*;
use cofferdam_core::level::Level;
use cofferdam_core::policy::PolicySpec;
use std::time::Duration;

fn policy(millis: u64) -> Policy {
    let mut spec = PolicySpec { level: Level::Full, ..PolicySpec::default() };
    (spec.timeout.call_timeout, spec.timeout.min_attempt_budget) = (Duration::from_millis(millis), Duration::ZERO);
    Policy::new(spec).unwrap()
}

fn at(revision: u64) -> Revision {
    Revision { epoch: 1, revision }
}

fn good(millis: u64, revision: u64) -> Good {
    Good { policy: policy(millis), revision: Some(at(revision)), is_enabled: true, is_from_file: false }
}

fn counts(successes: u64, timeouts: u64) -> CounterSnapshot {
    CounterSnapshot { attempt_successes: successes, attempt_failures: timeouts, timeouts, ..CounterSnapshot::default() }
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_millis(second * 1000)
}

fn judge(probation: &mut Probation, counts: &CounterSnapshot, at: u64) -> Option<(Revision, Good)> {
    probation.judge(counts, [], second(at)).map(|(revision, good, _)| (revision, good))
}

#[test]
fn what_is_put_back_is_the_policy_before_and_the_revision_stays_refused() {
    let mut probation = Probation::default();
    assert!(probation.begin(good(1000, 1), &policy(1), at(2), counts(50, 0), second(0)));
    assert_eq!(judge(&mut probation, &counts(50, 19), 1), None);
    assert_eq!(judge(&mut probation, &counts(50, 20), 2), Some((at(2), good(1000, 1))));
    assert!(!probation.is_on_trial());
    let is_contained = |revision, millis| probation.contained(at(revision), policy_hash(&policy(millis))).is_some();
    assert_eq!([is_contained(2, 1), is_contained(3, 1)], [true, false]);
    assert!(!is_contained(2, 2), "another policy under the revision is another");
}

#[test]
fn what_stood_its_trial_is_what_to_go_back_to() {
    let mut probation = Probation::default();
    assert!(probation.begin(good(1000, 1), &policy(500), at(2), counts(50, 0), second(0)));
    assert_eq!(judge(&mut probation, &counts(200, 0), 30), None);
    assert!(!probation.is_on_trial());
    assert!(probation.begin(good(500, 2), &policy(1), at(3), counts(300, 0), second(31)));
    assert_eq!(judge(&mut probation, &counts(300, 60), 32), Some((at(3), good(500, 2))));
}

#[test]
fn a_revision_in_the_place_of_an_untried_one_is_compared_with_the_last_good_one() {
    let mut probation = Probation::default();
    probation.begin(good(1000, 1), &policy(2), at(2), counts(50, 0), second(0));
    // Nineteen calls are lost already, and no verdict yet.
    probation.begin(good(2, 2), &policy(1), at(3), counts(50, 19), second(1));
    assert_eq!(judge(&mut probation, &counts(50, 40), 2), Some((at(3), good(1000, 1))));
    // What heals needs no watch.
    probation.begin(good(1000, 1), &policy(2), at(4), counts(100, 40), second(3));
    assert!(!probation.begin(good(2, 4), &policy(1000), at(5), counts(100, 45), second(4)));
}

#[test]
fn what_a_contained_revision_did_does_not_speak_for_the_next_one() {
    let mut probation = Probation::default();
    probation.sample(CounterSnapshot::default());
    probation.begin(good(1000, 1), &policy(1), at(2), counts(50, 0), second(0));
    assert!(judge(&mut probation, &counts(50, 30), 1).is_some());
    probation.begin(good(1000, 1), &policy(2), at(3), counts(60, 30), second(2));
    assert_eq!(judge(&mut probation, &counts(60, 60), 3), Some((at(3), good(1000, 1))));
}

#[test]
fn only_the_last_minute_is_compared_with() {
    let mut probation = Probation::default();
    // Trouble long ago, and none since.
    probation.sample(counts(0, 1000));
    probation.sample(counts(50, 1000));
    probation.begin(good(1000, 1), &policy(1), at(2), counts(70, 1000), second(0));
    assert!(judge(&mut probation, &counts(70, 1030), 1).is_some());

    // Trouble just now.
    let mut probation = Probation::default();
    probation.sample(counts(5000, 0));
    probation.sample(counts(5000, 100));
    probation.begin(good(1000, 1), &policy(1), at(2), counts(5000, 200), second(0));
    assert!(judge(&mut probation, &counts(5000, 300), 1).is_none());
}
