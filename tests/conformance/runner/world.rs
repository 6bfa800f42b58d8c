//! The services of a case, and all that can be seen of them.

use super::case::{HintStep, HoldStep, TripStep};
use super::clock::Clock;
use super::duration;
use super::policy::{self, Refused};
use cofferdam_core::breaker::{State, Transition};
use cofferdam_core::fleet_hint::FleetHint;
use cofferdam_core::hold::{Forced, Hold, Target};
use cofferdam_core::isolation::{Isolation, Observer, Part};
use cofferdam_core::orders::{Aim, Orders, OrdersSpec, WrittenHold};
use cofferdam_core::runtime::Runtime;
use cofferdam_core::stats::{Counter, CounterSnapshot};
use cofferdam_core::time::{Timestamp, WallTime};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The service that a case is about, where a step names none.
pub(crate) const MAIN: &str = "main";

/// What exists in a case.
pub(crate) struct World {
    pub(crate) clock: Clock,
    start: Timestamp,
    services: BTreeMap<String, Service>,
    transitions: Transitions,
}

/// Transitions that no step has seen yet, each with its service and the part of that.
type Transitions = Arc<Mutex<Vec<(String, Part, Transition)>>>;

struct Service {
    isolation: Isolation,
    /// The policy in force, as it is written.
    written: Mutex<Value>,
    /// The counters when they were last looked at.
    seen: Mutex<CounterSnapshot>,
}

struct Journal {
    service: String,
    transitions: Transitions,
}

impl Observer for Journal {
    fn transition(&self, part: &Part, transition: &Transition) {
        lock(&self.transitions).push((self.service.clone(), part.clone(), *transition));
    }
}

impl World {
    pub(crate) fn new(clock: Clock, policies: BTreeMap<String, Value>) -> Result<Self, Refused> {
        let transitions = Transitions::default();
        let mut services = BTreeMap::new();
        for (name, written) in policies {
            let observer = Journal { service: name.clone(), transitions: Arc::clone(&transitions) };
            let isolation = Isolation::new(policy::read(&written)?, None, clock.both(), Arc::new(observer));
            services.insert(name, Service { isolation, written: Mutex::new(written), seen: Mutex::default() });
        }
        let start = clock.now();
        Ok(Self { clock, start, services, transitions })
    }

    pub(crate) fn isolation(&self, service: &str) -> Option<&Isolation> {
        self.services.get(service).map(|service| &service.isolation)
    }

    /// Pushes a policy; one that is refused leaves the last one in force.
    pub(crate) fn push(&self, service: &str, written: &Value) -> Result<(), Refused> {
        let Some(service) = self.services.get(service) else { return Ok(()) };
        let policy = policy::read(written)?;
        let is_enabled = service.isolation.in_force().is_enabled;
        service.isolation.apply(policy, None, is_enabled, self.clock.both());
        lock(&service.written).clone_from(written);
        Ok(())
    }

    /// Pushes the policy in force with another level.
    pub(crate) fn set_level(&self, service: &str, level: &str) -> Result<(), Refused> {
        let Some(known) = self.services.get(service) else { return Ok(()) };
        let mut written = lock(&known.written).clone();
        written["level"] = json!(level);
        self.push(service, &written)
    }

    /// Lets a service be called, or not.
    pub(crate) fn enable(&self, service: &str, is_enabled: bool) {
        if let Some(isolation) = self.isolation(service) {
            isolation.apply(isolation.in_force().policy.clone(), None, is_enabled, self.clock.both());
        }
    }

    /// Puts a hold in force.
    pub(crate) fn hold(&self, service: &str, step: &HoldStep) -> Result<(), String> {
        let forced = match step.forced.as_str() {
            "open" => Forced::Open,
            "closed" => Forced::Closed,
            "disabled" => Forced::Disabled,
            "metrics_only" => Forced::MetricsOnly,
            other => return Err(format!("nothing is forced {other}")),
        };
        let clocks = self.clock.both();
        let after = |lasting: Duration| {
            WallTime::after_1970(clocks.wall.saturating_since(WallTime::default()).saturating_add(lasting))
        };
        let aim = Aim { breakers: target(&step.target), instance_id: None };
        let until = step.lasting.map(|lasting| after(lasting.0));
        let (owner, reason) = ("conformance".to_owned(), "a case says so".to_owned());
        let hold = WrittenHold { aim, forced, owner, reason, since: clocks.wall, until };
        self.order(service, |orders| {
            orders.holds.retain(|other| other.aim != hold.aim);
            orders.holds.push(hold);
        })
    }

    /// Ends a hold.
    pub(crate) fn release(&self, service: &str, of: &str) -> Result<(), String> {
        let (isolation, target) = (self.isolation(service).ok_or("no such service")?, target(of));
        if isolation.holds(self.clock.now()).iter().all(|hold| *hold.target() != target) {
            return Err(format!("{of} is not held"));
        }
        self.order(service, |orders| orders.holds.retain(|hold| hold.aim.breakers != target))
    }

    /// Puts other orders in force, as a manager's push does.
    fn order(&self, service: &str, change: impl FnOnce(&mut OrdersSpec)) -> Result<(), String> {
        let isolation = self.isolation(service).ok_or("no such service")?;
        let mut spec = isolation.in_force().orders.to_spec();
        change(&mut spec);
        isolation.obey(Orders::new(spec).map_err(|error| error.to_string())?, None, self.clock.both());
        Ok(())
    }

    /// Opens breakers by hand.
    pub(crate) fn trip(&self, service: &str, step: &TripStep) -> Result<(), String> {
        let isolation = self.isolation(service).ok_or("no such service")?;
        let lasting = step.lasting.map(|lasting| lasting.0);
        isolation.trip(&target(&step.target), lasting, self.clock.now(), || self.clock.random());
        Ok(())
    }

    /// Closes breakers by hand.
    pub(crate) fn reset(&self, service: &str, of: &str) -> Result<(), String> {
        let isolation = self.isolation(service).ok_or("no such service")?;
        isolation.reset(&target(of), self.clock.now());
        Ok(())
    }

    /// Says what the manager does of other instances.
    pub(crate) fn hint(&self, service: &str, step: &HintStep) -> Result<(), String> {
        let (isolation, now) = (self.isolation(service).ok_or("no such service")?, self.clock.now());
        let hint = FleetHint::new(step.open, step.instances, step.ttl.0, now).map_err(|error| error.to_string())?;
        isolation.hint(hint, now);
        Ok(())
    }

    /// What can be seen of a service, by the names of expectations. `keys` are those that are looked at.
    pub(crate) fn observe(&self, service: &str, keys: &Map<String, Value>, observed: &mut Map<String, Value>) {
        let Some(known) = self.services.get(service) else { return };
        let (isolation, now) = (&known.isolation, self.clock.now());
        observed
            .insert("state".to_owned(), isolation.breaker_state(now).map_or(Value::Null, |state| json!(name(state))));
        let parts = isolation.breaker_states(now).into_iter().filter(|(part, _)| *part != Part::Service);
        let parts = parts.map(|(part, state)| (part.to_string(), json!(name(state))));
        observed.insert("parts".to_owned(), Value::Object(parts.collect()));
        observed.insert("health".to_owned(), json!(isolation.health(now).name()));
        let limit = isolation.adaptive_limit();
        let limit = limit.map(|load| json!({ "limit": load.limit, "in_flight": load.in_flight }));
        observed.insert("limit".to_owned(), limit.unwrap_or_default());
        let hold = |hold: Arc<Hold>| json!({ "target": text(hold.target()), "forced": hold.forced().name().replace('-', "_") });
        observed.insert("holds".to_owned(), isolation.holds(now).into_iter().map(hold).collect());
        let hint = isolation.fleet_hint(now).map(|hint| {
            let ends_in = duration::format(hint.until().saturating_since(now));
            json!({ "open": hint.open_instances(), "instances": hint.instances(), "ends_in": ends_in })
        });
        observed.insert("hint".to_owned(), hint.unwrap_or_default());
        let (successes, failures) = isolation.window_counts(now);
        observed.insert("window".to_owned(), json!({ "successes": successes, "failures": failures }));
        observed.insert("transitions".to_owned(), self.take_transitions(service));
        if keys.contains_key("counters") {
            let counters = isolation.counters();
            let since = counters.since(&std::mem::replace(&mut *lock(&known.seen), counters));
            let counted = Counter::ALL.into_iter().filter(|counter| since.get(*counter) > 0);
            let counted = counted.map(|counter| (counter.name().to_owned(), json!(since.get(counter))));
            observed.insert("counters".to_owned(), Value::Object(counted.collect()));
        }
    }

    fn take_transitions(&self, service: &str) -> Value {
        let transitions = std::mem::take(&mut *lock(&self.transitions));
        let to_json = |(of, part, transition): (String, Part, Transition)| {
            let mut json = json!({
                "from": name(transition.from),
                "to": name(transition.to),
                "cause": transition.cause.name(),
                "at": duration::format(transition.at.saturating_since(self.start)),
            });
            if !transition.is_enforced {
                json["enforced"] = json!(false);
            }
            if transition.is_hinted {
                json["hinted"] = json!(true);
            }
            if part != Part::Service {
                json["part"] = json!(part.to_string());
            }
            if of != service {
                json["service"] = json!(of);
            }
            json
        };
        transitions.into_iter().map(to_json).collect()
    }
}

/// What `all`, `service`, `pool NAME` and `methods GLOB` stand for.
fn target(text: &str) -> Target {
    match text.split_once(' ') {
        Some(("pool", name)) => Target::Part(Part::Pool(name.into())),
        Some(("methods", glob)) => Target::Part(Part::Methods(glob.into())),
        _ if text == "all" => Target::All,
        _ => Target::Part(Part::Service),
    }
}

fn text(target: &Target) -> String {
    match target {
        Target::All => "all".to_owned(),
        Target::Part(part) => part.to_string(),
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half_open",
        State::Open => "open",
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
