use super::*;
use cofferdam_core::hold::HoldSpec;
use cofferdam_core::isolation::Part;
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
    judge_under(probation, &[], Level::Full, counts, at)
}

fn judge_under(
    probation: &mut Probation,
    holds: &[Arc<Hold>],
    level: Level,
    counts: &CounterSnapshot,
    at: u64,
) -> Option<(Revision, Good)> {
    probation.judge(counts, &Ordered { holds, level }, second(at)).map(|(revision, good, _)| (revision, good))
}

fn held(target: Target, forced: Forced) -> Arc<Hold> {
    let (owner, reason) = ("alice".to_owned(), "a drill".to_owned());
    let spec = HoldSpec { target, forced, since: Timestamp::ZERO, until: None, owner, reason };
    Arc::new(Hold::new(spec).unwrap())
}

#[test]
fn what_is_put_back_is_the_policy_before_and_the_revision_stays_refused() {
    let mut probation = Probation::default();
    assert!(probation.begin(good(1000, 1), &policy(1), at(2), counts(50, 0), second(0)));
    assert_eq!(judge(&mut probation, &counts(50, 19), 1), None);
    assert_eq!(judge(&mut probation, &counts(50, 20), 2), Some((at(2), good(1000, 1))));
    assert!(!probation.is_on_trial());
    let is_contained = |probation: &Probation, millis| probation.contained(policy_hash(&policy(millis))).is_some();
    assert_eq!([is_contained(&probation, 1), is_contained(&probation, 2)], [true, false]);
    probation.forgive();
    assert!(!is_contained(&probation, 1));
}

/// An order makes a revision of the policy on trial. Under a hold nothing speaks against it, and its time was over then.
#[test]
fn a_trial_waits_while_operators_keep_calls_from_what_is_blamed() {
    let open = [held(Target::All, Forced::Open)];
    let shadowed = [held(Target::All, Forced::Disabled), open[0].clone()];
    let waits: [(&[Arc<Hold>], Level); 2] = [(&open, Level::Full), (&[], Level::None)];
    for (holds, level) in waits {
        let mut probation = Probation::default();
        probation.begin(good(1000, 1), &policy(1), at(2), counts(50, 0), second(0));
        probation.begin(good(1, 2), &policy(1), at(3), counts(50, 5), second(1));
        for wait in 1..100 {
            assert_eq!(judge_under(&mut probation, holds, level, &counts(50, 100), wait), None);
        }
        assert!(probation.begin(good(1, 3), &policy(1), at(4), counts(50, 100), second(100)));
        assert_eq!(judge(&mut probation, &counts(50, 100), 101), None, "the calls under it begin now");
        assert_eq!(judge(&mut probation, &counts(50, 119), 102), None);
        assert_eq!(judge(&mut probation, &counts(50, 120), 103), Some((at(4), good(1000, 1))));
    }
    // Where calls get through, it does not wait.
    let some = [held(Target::Part(Part::Pool("reads".into())), Forced::Open)];
    let goes_on: [(&[Arc<Hold>], Level); 3] = [(&shadowed, Level::Full), (&some, Level::Full), (&[], Level::Basic)];
    for (holds, level) in goes_on {
        let mut probation = Probation::default();
        probation.begin(good(1000, 1), &policy(1), at(2), counts(50, 0), second(0));
        assert!(judge_under(&mut probation, holds, level, &counts(50, 20), 1).is_some());
    }
}

#[test]
fn what_a_breaker_rejects_that_was_tripped_is_not_put_down_to_what_is_on_trial() {
    let breaker = |failures| {
        let mut spec = PolicySpec { level: Level::Full, ..PolicySpec::default() };
        spec.breaker.consecutive_failures = failures;
        Policy::new(spec).unwrap()
    };
    let rejected =
        |count| CounterSnapshot { attempt_successes: 50, rejected_open: count, ..CounterSnapshot::default() };
    let good = Good { policy: breaker(5), ..good(1000, 1) };
    let begin = |probation: &mut Probation, revision, second_of| {
        probation.begin(good.clone(), &breaker(4), at(revision), rejected(0), second(second_of))
    };
    let mut probation = Probation::default();
    assert!(begin(&mut probation, 2, 0));
    probation.tripped(second(60));
    // The order is of a revision of its own.
    begin(&mut probation, 3, 1);
    assert_eq!(judge(&mut probation, &rejected(100), 2), None);
    // One that comes while the breaker is open by hand.
    let mut probation = Probation::default();
    probation.tripped(second(60));
    assert!(!begin(&mut probation, 2, 59), "nothing else is blamed");
    assert!(begin(&mut probation, 3, 60));
    assert!(judge(&mut probation, &rejected(100), 61).is_some());
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
