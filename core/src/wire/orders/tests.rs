use super::*;
use crate::level::Level;
use crate::policy::Policy;
use crate::wire::{fingerprint, policy_hash};
use std::time::Duration;

fn at(seconds: u64) -> WallTime {
    WallTime::after_1970(Duration::from_secs(seconds))
}

fn aim(breakers: Target, instance: Option<&str>) -> Aim {
    Aim { breakers, instance_id: instance.map(str::to_owned) }
}

fn orders() -> Orders {
    let hold = |aim, forced, until: Option<u64>| WrittenHold {
        aim,
        forced,
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
        since: at(10),
        until: until.map(at),
    };
    let methods = Target::Part(Part::Methods("Get*".into()));
    let mut spec = OrdersSpec {
        holds: vec![
            hold(Aim::ALL, Forced::Open, Some(20)),
            hold(aim(Target::Part(Part::Pool("reads".into())), None), Forced::Closed, None),
            hold(aim(methods, Some("checkout-1")), Forced::Disabled, None),
            hold(aim(Target::All, Some("checkout-1")), Forced::MetricsOnly, None),
        ],
        commands: Vec::new(),
        level: Some(TemporaryLevel {
            level: Level::None,
            until: at(20),
            actor: "alice".to_owned(),
            reason: String::new(),
        }),
    };
    for action in [Action::Trip(None), Action::Trip(Some(Duration::from_secs(5))), Action::Reset] {
        spec.command(Aim::ALL, action, "alice".to_owned(), "a drill".to_owned(), at(10));
    }
    Orders::new(spec).unwrap()
}

#[test]
fn orders_survive_the_wire() {
    assert_eq!(orders_from_wire(Some(&orders_to_wire(&orders()))), Ok(orders()));
    assert_eq!(orders_from_wire(None), Ok(Orders::default()));
    assert_eq!(orders_from_wire(Some(&v1::Orders::default())), Ok(Orders::default()));
}

#[test]
fn what_messages_can_say_amiss_is_named_by_its_path() {
    let fault = |change: &dyn Fn(&mut v1::Orders)| {
        let mut wire = orders_to_wire(&orders());
        change(&mut wire);
        orders_from_wire(Some(&wire)).unwrap_err().path
    };
    assert_eq!(fault(&|wire| wire.holds[0].set_forced(v1::ForcedState::Unspecified)), "holds[0].forced");
    assert_eq!(fault(&|wire| wire.holds[1].forced = 5), "holds[1].forced");
    assert_eq!(fault(&|wire| wire.holds[0].hold_time = None), "holds[0].hold_time");
    let broken = prost_types::Timestamp { seconds: 0, nanos: -1 };
    assert_eq!(fault(&|wire| wire.holds[0].expire_time = Some(broken)), "holds[0].expire_time");
    let both = v1::BreakerTarget { pool: "a".into(), method_glob: "b".into(), instance_id: String::new() };
    assert_eq!(fault(&|wire| wire.holds[0].target = Some(both.clone())), "holds[0].target.method_glob");
    assert_eq!(fault(&|wire| wire.commands[0].action = None), "commands[0]");
    assert_eq!(fault(&|wire| wire.commands[0].command_time = None), "commands[0].command_time");
    let negative = v1::TripAction { open_duration: Some(prost_types::Duration { seconds: -1, nanos: 0 }) };
    assert_eq!(
        fault(&|wire| wire.commands[0].action = Some(WireAction::Trip(negative))),
        "commands[0].trip.open_duration"
    );
    let level = |change: fn(&mut v1::TemporaryLevel)| fault(&|wire| wire.temporary_level.iter_mut().for_each(change));
    assert_eq!(level(|level| level.level = 0), "temporary_level.level");
    assert_eq!(level(|level| level.level = 9), "temporary_level.level");
    assert_eq!(level(|level| level.set_level(v1::IsolationLevel::Auto)), "temporary_level.level");
    assert_eq!(level(|level| level.expire_time = None), "temporary_level.expire_time");
}

/// Instances of before there were orders acknowledge what they always did.
#[test]
fn orders_are_part_of_the_fingerprint_where_there_are_any() {
    let policy = Policy::default();
    assert_eq!(fingerprint(&policy, &Orders::default()), policy_hash(&policy));
    let mut hashes = std::collections::HashSet::from([policy_hash(&policy)]);
    let spec = orders().to_spec();
    for other in [
        spec.clone(),
        OrdersSpec { level: None, ..spec.clone() },
        OrdersSpec { holds: spec.holds[1..].to_vec(), ..spec.clone() },
        OrdersSpec { commands: spec.commands[1..].to_vec(), ..spec },
    ] {
        assert!(hashes.insert(fingerprint(&policy, &Orders::new(other).unwrap())));
    }
}
