//! Runs a case: does its steps one by one, and compares what is to be seen with what is expected.

use super::calls::{Calls, Ended};
use super::case::{Call, Case, Step};
use super::clock::Clock;
use super::duration;
use super::operation::{CallResult, Scripted, Trace};
use super::policy::Refused;
use super::world::{MAIN, World, lock};
use cofferdam_core::breaker::OpenedBy;
use cofferdam_core::call::{Answer, Failure, FailureCause, Source, Why};
use cofferdam_core::policy::FallbackTrigger;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One hour: a whole number of buckets, whatever the window.
const DEFAULT_START: Duration = Duration::from_secs(3600);

/// Why a case fails.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It cannot be run as it is written.
    Case(String),
    /// Something is not as expected.
    Expectation(String),
}

type Observed = Map<String, Value>;

struct Run {
    world: Arc<World>,
    calls: Calls<CallResult>,
    traces: BTreeMap<String, Arc<Mutex<Trace>>>,
}

/// Runs a case from beginning to end.
pub(crate) fn run(case: &Case, default_policy: Option<&Value>) -> Result<(), Broken> {
    let written = case.policy.as_ref().or(default_policy).ok_or_else(|| Broken::Case("has no policy".to_owned()))?;
    let mut policies = case.services.clone();
    policies.insert(MAIN.to_owned(), written.clone());
    let start = case.start.map_or(DEFAULT_START, |start| start.0);
    let clock = Clock::new(start, case.random.clone());
    let world = World::new(clock.clone(), policies).map_err(|refused| Broken::Case(format!("policy: {refused:?}")))?;
    let mut run = Run { world: Arc::new(world), calls: Calls::new(clock.clone()), traces: BTreeMap::new() };
    for (index, step) in case.steps.iter().enumerate() {
        for round in 0..step.times.unwrap_or(1) {
            let number = match step.times {
                None => format!("step {}", index + 1),
                Some(_) => format!("step {}, time {}", index + 1, round + 1),
            };
            let mut observed = run.act(step, round).map_err(|why| Broken::Case(format!("{number}: {why}")))?;
            run.world.observe(step.service(), &step.expect, &mut observed);
            compare(step, &observed).map_err(|why| Broken::Expectation(format!("{number}:\n{why}")))?;
        }
    }
    drop(run);
    clock.wrong_draws().map_or(Ok(()), |why| Err(Broken::Expectation(why)))
}

impl Run {
    /// Does a step, and says what came of the call that it is about.
    fn act(&mut self, step: &Step, round: u32) -> Result<Observed, String> {
        let service = step.service();
        if self.world.isolation(service).is_none() {
            return Err(format!("there is no service {service}"));
        }
        if let Some(call) = &step.call {
            let id = match (&step.begin, step.times) {
                (Some(id), None) => id.clone(),
                (Some(id), Some(_)) => format!("{id}#{}", round + 1),
                (None, _) => "call".to_owned(),
            };
            self.begin(service, &id, call);
            return if step.begin.is_some() { self.look(&id) } else { self.end(&id) };
        }
        if let Some(id) = &step.end {
            return self.end(id);
        }
        if let Some(id) = &step.cancel {
            let mut observed = self.look(id)?;
            if !self.calls.cancel(id) {
                return Err(format!("call {id} is not under way"));
            }
            observed.insert("result".to_owned(), json!("cancelled"));
            return Ok(observed);
        }
        let pushed = match (&step.policy, &step.level) {
            (Some(policy), _) => self.world.push(service, policy),
            (None, Some(level)) => self.world.set_level(service, level),
            (None, None) => Ok(()),
        };
        if let Some(is_enabled) = step.enabled {
            self.world.enable(service, is_enabled);
        }
        self.operate(service, step)?;
        self.calls.settle();
        if let Some(duration) = step.advance {
            self.calls.run_until(self.world.clock.now().saturating_add(duration.0));
        }
        let refused = match pushed {
            Ok(()) => json!([]),
            Err(Refused::Invalid(paths)) => json!(paths),
            Err(Refused::Unreadable(why)) => return Err(format!("policy: {why}")),
        };
        Ok(Map::from_iter([("refused".to_owned(), refused)]))
    }

    /// What an operator does to breakers, what a manager says of others, and whoever sets the wall clock.
    fn operate(&self, service: &str, step: &Step) -> Result<(), String> {
        let world = &self.world;
        step.hold.as_ref().map_or(Ok(()), |hold| world.hold(service, hold))?;
        step.release.as_ref().map_or(Ok(()), |target| world.release(service, target))?;
        step.trip.as_ref().map_or(Ok(()), |trip| world.trip(service, trip))?;
        step.reset.as_ref().map_or(Ok(()), |target| world.reset(service, target))?;
        step.hint.as_ref().map_or(Ok(()), |hint| world.hint(service, hint))?;
        if let Some(wall) = &step.wall {
            let wall: prost_types::Timestamp = wall.parse().map_err(|error| format!("{wall}: {error:?}"))?;
            let seconds = u64::try_from(wall.seconds).map_err(|_| "no case is set before 1970")?;
            world.clock.set_wall(Duration::from_secs(seconds));
        }
        Ok(())
    }

    fn begin(&mut self, service: &str, id: &str, call: &Call) {
        let trace = Arc::<Mutex<Trace>>::default();
        self.traces.insert(id.to_owned(), Arc::clone(&trace));
        let (world, call, service) = (Arc::clone(&self.world), Arc::new(call.clone()), service.to_owned());
        let attempts = call.attempts.clone();
        self.calls.begin(id.to_owned(), async move {
            let mut operation = Scripted { world: Arc::clone(&world), call: Arc::clone(&call), attempts, trace };
            let isolation = world.isolation(&service).expect("the step's service was looked up");
            let fields = call.fields();
            operation.execute_on(isolation, call.options(&fields)).await
        });
    }

    /// Lets time pass until a call has ended.
    fn end(&mut self, id: &str) -> Result<Observed, String> {
        if !self.calls.run_until_ended(id) {
            return Err(format!("call {id} never ends"));
        }
        self.look(id)
    }

    /// What became of a call so far.
    fn look(&mut self, id: &str) -> Result<Observed, String> {
        let trace = self.traces.get(id).map(|trace| lock(trace).clone()).unwrap_or_default();
        let now = self.world.clock.now();
        if let Some(began) = self.calls.began(id) {
            return Ok(observed("pending", &trace, began, now));
        }
        let Some(Ended { output, began, ended, .. }) = self.calls.take_ended(id) else {
            return Err(format!("call {id} has not begun, or its end was looked at before"));
        };
        let mut seen = observed("panicked", &trace, began, ended);
        if let Some(result) = output {
            describe(result, &mut seen);
        }
        Ok(seen)
    }
}

impl Step {
    fn service(&self) -> &str {
        self.service.as_deref().unwrap_or(MAIN)
    }
}

/// What is to be seen of every call.
fn observed(result: &str, trace: &Trace, began: Timestamp, now: Timestamp) -> Observed {
    let since = |time: &Timestamp| duration::format(time.saturating_since(began));
    let told = |told: &Option<Duration>| told.map(duration::format);
    let fields = [
        ("result", json!(result)),
        ("attempts", json!(trace.starts.len())),
        ("starts", trace.starts.iter().map(since).collect()),
        ("told", trace.told.iter().map(told).collect()),
        ("asked", json!(trace.asked)),
        ("took", json!(since(&now))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What is to be seen of a call that has ended.
fn describe(result: CallResult, seen: &mut Observed) {
    let mut set = |name: &str, value: Value| seen.insert(name.to_owned(), value);
    let receipt = match result {
        Ok(Answer { value, source, receipt }) => {
            set("answer", json!(value.text));
            let name = match source {
                Source::Live => "live",
                Source::Cached { age } => {
                    set("age", json!(duration::format(age)));
                    "cached"
                }
                Source::Static => "static",
                Source::Alternative => "alternative",
                Source::Degraded(step) => {
                    set("features", json!(step.features));
                    set("reason", json!(step.reason));
                    "degraded"
                }
                Source::Local => "local",
            };
            set("result", json!(name));
            receipt
        }
        Err(Failure { cause, receipt }) => {
            let (name, retry_after) = match cause {
                FailureCause::Inner(error) => {
                    set("error", error.to_json());
                    ("error", None)
                }
                FailureCause::Timeout => ("timeout", None),
                FailureCause::Open { retry_after, by } => {
                    set("by", json!(opened_by(&by)));
                    ("open", retry_after)
                }
                FailureCause::AdaptiveLimitReached => ("adaptive_limit_reached", None),
                FailureCause::BulkheadFull => ("bulkhead_full", None),
                FailureCause::RateLimited { retry_after } => ("rate_limited", Some(retry_after)),
                FailureCause::DeadlineSpent => ("deadline_spent", None),
                FailureCause::Disabled => ("disabled", None),
            };
            set("result", json!(name));
            set("retry_after", json!(retry_after.map(duration::format)));
            receipt
        }
    };
    set("attempts", json!(receipt.attempts));
    set("trigger", json!(receipt.why.map(|why| trigger(why.trigger))));
    if let Some(Why { retry_after, is_adaptive_limit, is_forced, .. }) = receipt.why {
        set("retry_after", json!(retry_after.map(duration::format)));
        set("adaptive", json!(is_adaptive_limit));
        set("forced", json!(is_forced));
    }
}

fn opened_by(by: &OpenedBy) -> &'static str {
    match by {
        OpenedBy::Rules => "rules",
        OpenedBy::Policy => "policy",
        OpenedBy::Hold(_) => "hold",
    }
}

fn trigger(trigger: FallbackTrigger) -> &'static str {
    match trigger {
        FallbackTrigger::Failure => "failure",
        FallbackTrigger::Timeout => "timeout",
        FallbackTrigger::Open => "open",
        FallbackTrigger::Bulkhead => "bulkhead",
        FallbackTrigger::RateLimit => "rate_limit",
    }
}

/// Holds what is expected against what was seen. Two things are expected though a step says nothing of them: no
/// transition, and no policy that is refused.
fn compare(step: &Step, observed: &Observed) -> Result<(), String> {
    let mut expected = step.expect.clone();
    for name in ["transitions", "refused"].into_iter().filter(|name| observed.contains_key(*name)) {
        expected.entry(name).or_insert_with(|| json!([]));
    }
    let differs = |(name, wanted): &(String, Value)| observed.get(name).unwrap_or(&Value::Null) != wanted;
    let line = |(name, wanted): (String, Value)| {
        let got = observed.get(&name).unwrap_or(&Value::Null);
        format!("  {name}: expected {wanted}, got {got}")
    };
    let lines: Vec<String> = expected.into_iter().filter(differs).map(line).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}
