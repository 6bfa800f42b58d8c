use super::*;
use crate::isolation::Part;
use crate::policy::limits::MAX_HOLDS;

fn at(seconds: u64) -> WallTime {
    WallTime::after_1970(Duration::from_secs(seconds))
}

fn hold(pool: &str, until: Option<u64>) -> WrittenHold {
    let aim = Aim { breakers: Target::Part(Part::Pool(pool.into())), instance_id: None };
    let (owner, reason) = ("alice".to_owned(), "the disk is being changed".to_owned());
    WrittenHold { aim, forced: Forced::Open, owner, reason, since: at(10), until: until.map(at) }
}

fn level() -> TemporaryLevel {
    TemporaryLevel { level: Level::None, until: at(20), actor: "alice".to_owned(), reason: String::new() }
}

fn spec() -> OrdersSpec {
    let mut spec = OrdersSpec { holds: vec![hold("reads", Some(20))], commands: Vec::new(), level: Some(level()) };
    spec.command(Aim::ALL, Action::Reset, "alice".to_owned(), "it works".to_owned(), at(10));
    spec
}

#[test]
fn what_has_run_out_is_not_in_force_and_goes_when_pruned() {
    let orders = Orders::new(spec()).unwrap();
    assert_eq!(orders.holds_in_force(at(19)).count(), 1);
    assert!(orders.level_in_force(at(19)).is_some() && orders.level_in_force(at(20)).is_none());
    assert_eq!(orders.holds_in_force(at(20)).count(), 0);
    let mut spec = orders.to_spec();
    spec.prune(at(19));
    assert_eq!(spec, *orders);
    spec.prune(at(20));
    assert_eq!((spec.holds.len(), spec.level, spec.commands.len()), (0, None, 1), "commands have no end");
    assert!(!orders.is_empty() && Orders::default().is_empty());
}

#[test]
fn numbers_of_commands_grow_whatever_the_clock_does_and_the_oldest_are_forgotten() {
    let mut spec = OrdersSpec::default();
    let mut give = |seconds| {
        spec.command(Aim::ALL, Action::Trip(None), "alice".to_owned(), "a drill".to_owned(), at(seconds));
        (spec.commands.last().unwrap().number, spec.commands.len())
    };
    assert_eq!(give(10), (10_000, 1));
    assert_eq!(give(10), (10_001, 2));
    assert_eq!(give(5), (10_002, 3), "a clock that goes back");
    assert_eq!(give(11), (11_000, 4));
    for _ in 0..2 * MAX_COMMANDS {
        give(12);
    }
    assert_eq!(spec.commands.len(), MAX_COMMANDS);
    let last = spec.commands.last().unwrap().number;
    assert_eq!(Orders::new(spec).unwrap().last_command(), last);
}

#[test]
fn an_aim_is_at_all_instances_or_one() {
    let one = Aim { instance_id: Some("checkout-1".to_owned()), ..Aim::ALL };
    assert!(Aim::ALL.is_at(Some("checkout-1")) && Aim::ALL.is_at(None));
    assert!(one.is_at(Some("checkout-1")) && !one.is_at(Some("checkout-2")) && !one.is_at(None));
}

#[test]
fn each_fault_is_named_by_its_path() {
    let fault = |change: &dyn Fn(&mut OrdersSpec)| {
        let mut spec = spec();
        change(&mut spec);
        Orders::new(spec).unwrap_err().path
    };
    let aim = |instance: &str| Aim { instance_id: Some(instance.to_owned()), ..Aim::ALL };
    assert_eq!(fault(&|spec| spec.holds.push(hold("reads", None))), "holds[1].target");
    assert_eq!(fault(&|spec| spec.holds[0].owner.clear()), "holds[0].owner");
    assert_eq!(fault(&|spec| spec.holds[0].reason = "x".repeat(257)), "holds[0].reason");
    assert_eq!(fault(&|spec| spec.holds[0].until = Some(at(10))), "holds[0].expire_time");
    assert_eq!(fault(&|spec| spec.holds[0] = hold("", None)), "holds[0].target.pool");
    let service = Target::Part(Part::Service);
    assert_eq!(fault(&|spec| spec.holds[0].aim.breakers = service.clone()), "holds[0].target.pool");
    let glob = Target::Part(Part::Methods("a\nb".into()));
    assert_eq!(fault(&|spec| spec.holds[0].aim.breakers = glob.clone()), "holds[0].target.method_glob");
    assert_eq!(fault(&|spec| spec.holds[0].aim = aim("")), "holds[0].target.instance_id");
    assert_eq!(fault(&|spec| spec.commands[0].aim = aim("é")), "commands[0].target.instance_id");
    assert_eq!(fault(&|spec| spec.commands[0].number = 0), "commands[0].number");
    assert_eq!(fault(&|spec| spec.commands.push(spec.commands[0].clone())), "commands[1].number");
    assert_eq!(fault(&|spec| spec.commands[0].actor.clear()), "commands[0].actor");
    assert_eq!(fault(&|spec| spec.commands[0].reason.clear()), "commands[0].reason");
    let trip = |millis| Action::Trip(Some(Duration::from_millis(millis)));
    assert_eq!(fault(&|spec| spec.commands[0].action = trip(0)), "commands[0].trip.open_duration");
    assert_eq!(fault(&|spec| spec.commands[0].action = trip(86_400_001)), "commands[0].trip.open_duration");
    assert_eq!(fault(&|spec| spec.level.as_mut().unwrap().actor.clear()), "temporary_level.actor");
    assert_eq!(fault(&|spec| spec.level.as_mut().unwrap().reason = "\t".to_owned()), "temporary_level.reason");
    let many = |spec: &mut OrdersSpec| spec.holds = (0..=MAX_HOLDS).map(|n| hold(&n.to_string(), None)).collect();
    assert_eq!(fault(&many), "holds");
    let many = |spec: &mut OrdersSpec| spec.commands = vec![spec.commands[0].clone(); MAX_COMMANDS + 1];
    assert_eq!(fault(&many), "commands");
    let error = Orders::new(OrdersSpec { holds: vec![hold("", None)], ..OrdersSpec::default() }).unwrap_err();
    assert!(error.to_string().starts_with("holds[0].target.pool must be 1 to 1024 bytes long"), "{error}");
}
