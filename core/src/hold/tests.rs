use super::*;

fn spec() -> HoldSpec {
    HoldSpec {
        target: Target::All,
        forced: Forced::Open,
        since: Timestamp::from_millis(1_000),
        until: Some(Timestamp::from_millis(2_000)),
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
    }
}

#[test]
fn a_hold_runs_out_at_its_end_and_not_before() {
    let hold = Hold::new(spec()).unwrap();
    assert!(hold.is_in_force(Timestamp::from_millis(1_999)));
    assert!(!hold.is_in_force(Timestamp::from_millis(2_000)));
    assert_eq!(hold.age(Timestamp::from_millis(1_250)), Duration::from_millis(250));
    let endless = Hold::new(HoldSpec { until: None, ..spec() }).unwrap();
    assert!(endless.is_in_force(Timestamp::from_nanos(u64::MAX)));
}

#[test]
fn a_hold_says_who_and_why() {
    let invalid = |change: &dyn Fn(&mut HoldSpec)| {
        let mut spec = spec();
        change(&mut spec);
        Hold::new(spec).unwrap_err()
    };
    assert_eq!(invalid(&|spec| spec.owner.clear()), InvalidHold::Owner);
    assert_eq!(invalid(&|spec| spec.owner = "x".repeat(129)), InvalidHold::Owner);
    assert_eq!(invalid(&|spec| spec.reason.clear()), InvalidHold::Reason);
    assert_eq!(invalid(&|spec| spec.reason = "a\nb".to_owned()), InvalidHold::Reason);
    assert_eq!(invalid(&|spec| spec.until = Some(spec.since)), InvalidHold::Until);
}

#[test]
fn a_target_covers_what_it_names() {
    let pool = Part::Pool("reads".into());
    assert!(Target::All.covers(&pool) && Target::All.covers(&Part::Service));
    assert!(Target::Part(pool.clone()).covers(&pool));
    assert!(!Target::Part(Part::Service).covers(&pool), "a pool's own breaker is not the service's");
}
