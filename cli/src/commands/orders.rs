//! `cofferdam hold`, `release`, `trip` and `reset`: what operators do to breakers by hand.

use super::Error;
use super::ordered;
use super::session::{ServiceName, Session, span};
use super::write::{WriteArgs, present, report_as, request_id};
use crate::client::{CallError, Rpc};
use crate::message::Named;
use crate::output::say;
use clap::{Arg, Args, ValueEnum};
use cofferdam_core::isolation::Part;
use cofferdam_core::level::Section;
use cofferdam_core::wire::effective_policy;
use cofferdam_proto::v1;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

pub(super) const HOLD_HELP: &str = "\
A hold stands over what a breaker has learned, and ends at its time whether the manager is there or not.

Examples:
  cofferdam hold payments open --for 5m --reason 'the database is being moved'
  cofferdam hold payments disabled --pool reads --reason 'trial'
  cofferdam release payments --reason 'done'";

pub(super) const RELEASE_HELP: &str = "\
One hold ends: that with the same pool, method and instance. `cofferdam describe service NAME` prints the command for each.

Examples:
  cofferdam release payments --reason 'the database has been moved'
  cofferdam release payments --instance payments-7f --reason 'the trial is over'";

pub(super) const TRIP_HELP: &str = "\
The breakers recover by their rules: after their open time they probe. Instances that are away do it when they come back.

Examples:
  cofferdam trip payments --reason 'a drill'
  cofferdam trip payments --for 5m --instance payments-7f --reason 'a drill'";

pub(super) const RESET_HELP: &str = "\
A hold stays: `cofferdam release` ends it. Instances that are away do it when they come back.

Examples:
  cofferdam reset payments --reason 'it works again' --wait
  cofferdam reset --all --yes --reason 'the outage is over'";

/// Whoever meets an order wants to know why, so the manager takes none without a reason.
fn required_reason(reason: Arg) -> Arg {
    reason
        .required(true)
        .default_value(None::<&str>)
        .value_parser(said)
        .help("Why; required, and stands in the service's history")
}

fn said(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("must say why") } else { Ok(text.to_owned()) }
}

/// What a hold makes of breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Forced {
    /// Every call is rejected
    Open,
    /// Every call is admitted, and what was learned is forgotten
    Closed,
    /// Every call is admitted, and what was learned is there again afterwards
    Disabled,
    /// Every call is admitted, and what the rules would have done is told
    MetricsOnly,
}

impl Forced {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics-only",
        }
    }
}

impl From<Forced> for v1::ForcedState {
    fn from(forced: Forced) -> Self {
        match forced {
            Forced::Open => Self::Open,
            Forced::Closed => Self::Closed,
            Forced::Disabled => Self::Disabled,
            Forced::MetricsOnly => Self::MetricsOnly,
        }
    }
}

/// Which breakers.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// Only the breaker of this pool
    #[arg(long, value_name = "NAME", conflicts_with = "method")]
    pool: Option<String>,
    /// Only the breaker of this override for methods, by its glob
    #[arg(long, value_name = "GLOB")]
    method: Option<String>,
    /// Only at this instance
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
}

impl TargetArgs {
    fn to_wire(&self) -> v1::BreakerTarget {
        v1::BreakerTarget {
            pool: self.pool.clone().unwrap_or_default(),
            method_glob: self.method.clone().unwrap_or_default(),
            instance_id: self.instance.clone().unwrap_or_default(),
        }
    }

    /// ` of pool reads at pay-1`. Empty: all of them.
    fn words(&self) -> String {
        ordered::aim(Some(&self.to_wire()))
    }
}

/// What to hold, and how.
#[derive(Args, Debug)]
#[command(mut_arg("reason", required_reason))]
pub(crate) struct HoldArgs {
    /// The service
    service: ServiceName,
    /// What to make of its breakers
    #[arg(value_enum)]
    forced: Forced,
    /// How long it lasts [default: until it is released]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    lasting: Option<Duration>,
    /// Who holds [default: who asks]
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Which hold ends.
#[derive(Args, Debug)]
#[command(mut_arg("reason", required_reason))]
pub(crate) struct ReleaseArgs {
    /// The service
    service: ServiceName,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Which breakers to open.
#[derive(Args, Debug)]
#[command(mut_arg("reason", required_reason))]
pub(crate) struct TripArgs {
    /// The service
    service: ServiceName,
    /// How long they stay open before they probe [default: as the policy says]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    lasting: Option<Duration>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Which breakers to close.
#[derive(Args, Debug)]
#[command(
    mut_arg("reason", required_reason),
    override_usage = "cofferdam reset [OPTIONS] --reason <TEXT> <SERVICE>\n       \
                      cofferdam reset [OPTIONS] --reason <TEXT> --all"
)]
pub(crate) struct ResetArgs {
    /// The service
    #[arg(required_unless_present = "all")]
    service: Option<ServiceName>,
    /// All services of the namespace that have a breaker in force; asks before
    #[arg(long, conflicts_with_all = ["service", "pool", "method", "expected_revision"])]
    all: bool,
    /// Do not ask
    #[arg(long, short, requires = "all")]
    yes: bool,
    /// Forget the reported health as well
    #[arg(long)]
    health: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// Holds.
pub(super) async fn hold(args: &HoldArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let until = args
        .lasting
        .map_or_else(|| "until released".to_owned(), |lasting| format!("for {}", humantime::format_duration(lasting)));
    let what = format!("breakers{} held {} {until}", args.target.words(), args.forced.name());
    let request = |(namespace, service)| v1::HoldBreakerRequest {
        namespace,
        service,
        target: Some(args.target.to_wire()),
        forced: v1::ForcedState::from(args.forced).into(),
        ttl: args.lasting.and_then(|lasting| lasting.try_into().ok()),
        owner: args.owner.clone(),
        reason: args.write.reason.clone(),
        expected_revision: args.write.expected(),
        request_id: request_id(),
    };
    order(&what, &args.service, &args.target, &args.write, session, request, |answer| answer.service).await
}

/// Releases.
pub(super) async fn release(args: &ReleaseArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let what = format!("breakers{} released", args.target.words());
    let request = |(namespace, service)| v1::ReleaseBreakerRequest {
        namespace,
        service,
        target: Some(args.target.to_wire()),
        reason: args.write.reason.clone(),
        expected_revision: args.write.expected(),
        request_id: request_id(),
    };
    order(&what, &args.service, &args.target, &args.write, session, request, |answer| answer.service).await
}

/// Trips.
pub(super) async fn trip(args: &TripArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let what = format!("breakers{} tripped", args.target.words());
    let request = |(namespace, service)| v1::TripBreakerRequest {
        namespace,
        service,
        target: Some(args.target.to_wire()),
        open_duration: args.lasting.and_then(|lasting| lasting.try_into().ok()),
        reason: args.write.reason.clone(),
        expected_revision: args.write.expected(),
        request_id: request_id(),
    };
    order(&what, &args.service, &args.target, &args.write, session, request, |answer| answer.service).await
}

/// Resets.
pub(super) async fn reset(args: &ResetArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let what = format!("breakers{} reset", args.target.words());
    let request = |(namespace, service)| v1::ResetBreakerRequest {
        namespace,
        service,
        target: Some(args.target.to_wire()),
        reset_health: args.health,
        reason: args.write.reason.clone(),
        expected_revision: args.write.expected(),
        request_id: request_id(),
    };
    if let Some(service) = &args.service {
        return order(&what, service, &args.target, &args.write, session, request, |answer| answer.service).await;
    }
    let services = with_breakers(session).await?;
    if services.is_empty() {
        say("no service has a breaker in force");
        return Ok(());
    }
    if !args.write.dry_run && !args.yes && !is_sure(&format!("reset the breakers of {} services", services.len()))? {
        return Err(Error::failed("nothing was reset", RESET_ALL));
    }
    let mut failed = Vec::new();
    for service in &services {
        match order(&what, service, &args.target, &args.write, session, request, |answer| answer.service).await {
            Ok(()) => {}
            Err(error @ (Error::Call(CallError::Refused(_)) | Error::Degraded(_))) => {
                let (namespace, name) = session.place(service);
                let told = format!("{}: {error}", session.shown(&namespace, &name));
                failed.extend(told.lines().map(str::to_owned));
            }
            Err(error) => return Err(error),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::Degraded(failed)) }
}

/// The services of the namespace, or of all, of which breakers are in force.
async fn with_breakers(session: &Session<'_>) -> Result<Vec<ServiceName>, Error> {
    let fields = &["service.namespace", "service.name", "policy.level"];
    let services = session.client.services(&session.namespace, fields).await?.services;
    let has_breaker = |isolated: &v1::IsolatedService| {
        let level = isolated.policy.as_ref().map(v1::IsolationPolicy::level);
        matches!(level, Some(v1::IsolationLevel::Enhanced | v1::IsolationLevel::Full))
    };
    let named = |isolated: v1::IsolatedService| isolated.service.map(|one| ServiceName::of(one.namespace, one.name));
    Ok(services.into_iter().filter(has_breaker).filter_map(named).collect())
}

/// What resets all breakers with nobody there to be asked.
const RESET_ALL: &str = "cofferdam reset --all --yes --reason TEXT";

/// Asks on the standard error. Where nobody can answer, the answer is no.
fn is_sure(what: &str) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::usage(format!("to {what} has to be confirmed, and nobody can be asked"), RESET_ALL));
    }
    let mut err = io::stderr();
    write!(err, "{what}? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether there is a hold to release, as a manager would find.
fn is_held(service: &v1::IsolatedService, target: &TargetArgs) -> Result<(), String> {
    let wanted = target.to_wire();
    let is_it = |hold: &v1::Hold| hold.target.clone().unwrap_or_default() == wanted;
    if service.holds.iter().any(is_it) {
        return Ok(());
    }
    let holds: Vec<_> = service.holds.iter().map(ordered::hold).collect();
    let there = if holds.is_empty() { "it is not held".to_owned() } else { format!("there are {}", holds.join("; ")) };
    Err(format!("no hold has this target: {there}"))
}

/// Whether there is a breaker to order something of, as a manager would find.
fn has_breaker(service: &v1::IsolatedService, target: &TargetArgs) -> Result<(), String> {
    let policy = service.policy.clone().unwrap_or_default();
    let Ok(policy) = effective_policy(&policy) else { return Ok(()) };
    if !policy.level.enforces(Section::CircuitBreaker) {
        return Err(format!(
            "no circuit breaker is in force at level {}: set level enhanced or full first",
            policy.level
        ));
    }
    let wanted = match (&target.pool, &target.method) {
        (Some(pool), _) => Part::Pool(pool.as_str().into()),
        (None, Some(glob)) => Part::Methods(glob.as_str().into()),
        (None, None) => return Ok(()),
    };
    if Part::with_own_breaker(&policy).contains(&wanted) {
        return Ok(());
    }
    Err(format!("the {wanted} has no circuit breaker to itself"))
}

/// Asks for what `what` says, or says that it would.
async fn order<R: Rpc>(
    what: &str,
    service: &ServiceName,
    target: &TargetArgs,
    write: &WriteArgs,
    session: &mut Session<'_>,
    request: impl FnOnce((String, String)) -> R,
    after: impl FnOnce(R::Answer) -> Option<v1::IsolatedService>,
) -> Result<(), Error>
where
    R::Answer: Named,
{
    write.certain(service, session).await?;
    let before = present(service, session).await?;
    let (namespace, name) = session.place(service);
    if write.dry_run {
        let name = session.shown(&namespace, &name);
        write.check(&name, Some(&before))?;
        let is_release = R::PATH.ends_with("/ReleaseBreaker");
        if let Err(why) = if is_release { is_held(&before, target) } else { has_breaker(&before, target) } {
            return Err(Error::failed(format!("{name}: {why}"), format!("cofferdam describe service {name}")));
        }
        writeln!(session.out, "{name}: would be: {what}")?;
        session.out.flush()?;
        say("nothing was changed; the manager has not checked it");
        return Ok(());
    }
    let place = (namespace.clone(), name.clone());
    let answer = session.client.call(request((namespace, name))).await?;
    if session.format.is_document() {
        session.document(&answer)?;
    }
    warn_of_stranger(place, target, session).await;
    report_as(what, write, Some(&before), after(answer), session).await
}

/// Says so where the one instance that is meant is not there. It is no fault: instances come and go, and what stands waits for
/// them.
async fn warn_of_stranger((namespace, service): (String, String), target: &TargetArgs, session: &Session<'_>) {
    let Some(id) = &target.instance else { return };
    let name = session.shown(&namespace, &service);
    let request = v1::GetIsolationStatsRequest { namespace, service, include_instances: true, ..Default::default() };
    // What was ordered stands whether or not this can be asked.
    let Ok(stats) = session.client.stats(request).await else { return };
    let is_sure = stats.unreachable_managers.is_empty();
    if is_sure && !stats.instances.iter().any(|instance| instance.instance_id == *id) {
        say(&format!("no instance {id} is connected that uses {name}: the order waits for one"));
    }
}
