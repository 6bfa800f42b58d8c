//! `cofferdam monitor`: all breakers at a glance, as `monitor-circuit-breakers.sh` shows them.

use super::Error;
use super::session::{ALL_NAMESPACES, Common, Session, lacks};
use crate::clock;
use crate::output::{Cell, Table, Tone, basis_points, complain, counted, say};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const HELP: &str = "\
A breaker that pools or methods have to themselves has a line of its own, as SERVICE/POOL. SUCCESSES and FAILURES are attempts
since the managers started. The exit code is 4 where one is not closed.

Examples:
  cofferdam monitor
  cofferdam monitor watch";

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Again and again
    Watch,
}

/// Which breakers, and how often.
#[derive(Args, Debug)]
pub(crate) struct MonitorArgs {
    /// Look again and again, until it is stopped [default: once]
    #[arg(value_enum)]
    mode: Option<Mode>,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// How often to look, with watch
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    every: Duration,
    #[command(flatten)]
    pub(super) common: Common,
}

impl MonitorArgs {
    /// Whether it goes on and on.
    pub(super) const fn goes_on(&self) -> bool {
        self.mode.is_some()
    }
}

/// Does it.
pub(super) async fn run(args: &MonitorArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if session.format.is_document() {
        let mend = "cofferdam stats -o json";
        return Err(Error::usage("the contract has no message for what monitor shows", mend));
    }
    if args.all_namespaces {
        ALL_NAMESPACES.clone_into(&mut session.namespace);
    }
    if args.mode.is_none() {
        let not_closed = look(session).await?;
        return match not_closed {
            0 => Ok(()),
            count => Err(Error::Open(vec![counted(count, "breaker is", "breakers are") + " not closed"])),
        };
    }
    let mut looks = tokio::time::interval(args.every.max(Duration::from_millis(100)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        looks.tick().await;
        writeln!(session.out, "{}", humantime::format_rfc3339_seconds(clock::now()))?;
        match look(session).await {
            Ok(_) => {}
            // A manager that is away is asked on; one that was never there is a mistake.
            Err(Error::Call(error)) if !is_first => complain(&error),
            Err(error) => return Err(error),
        }
        is_first = false;
    }
}

/// Prints all breakers, and says how many are not closed.
async fn look(session: &mut Session<'_>) -> Result<usize, Error> {
    let namespace = if session.namespace == ALL_NAMESPACES { String::new() } else { session.namespace.clone() };
    let request = v1::GetIsolationStatsRequest { namespace, include_services: true, ..Default::default() };
    let fields = &["service.namespace", "service.name", "breaker_state", "health"];
    let services = Box::pin(session.client.services(&session.namespace, fields));
    let (list, stats) = tokio::try_join!(services, Box::pin(session.client.stats(request)))?;
    lacks(list.stale_for, &stats.unreachable_managers).iter().for_each(|lack| say(lack));
    let stats: HashMap<_, _> =
        stats.services.into_iter().map(|one| ((one.namespace.clone(), one.service.clone()), one)).collect();
    let mut table = Table::new(["SERVICE", "STATE", "STATUS", "SUCCESSES", "FAILURES", "FAIL%"]);
    let mut not_closed = 0;
    for isolated in &list.services {
        let service = isolated.service.clone().unwrap_or_default();
        let figures = stats.get(&(service.namespace.clone(), service.name.clone())).cloned().unwrap_or_default();
        let name = session.shown(&service.namespace, &service.name);
        let state = isolated.breaker_state();
        let status = isolated.health.as_ref().map_or(v1::HealthStatus::Unspecified, v1::ServiceHealth::status);
        not_closed += usize::from(!is_closed(state));
        table.push(of_service(&name, state, status, figures.counters.unwrap_or_default()));
        for breaker in &figures.breakers {
            table.push(of_part(&name, breaker));
        }
    }
    if list.services.is_empty() {
        say("no service is registered");
        say("try: cofferdam register NAME --endpoint HOST:PORT");
    } else {
        session.table(&table)?;
    }
    Ok(not_closed)
}

fn is_closed(state: v1::BreakerState) -> bool {
    matches!(state, v1::BreakerState::Unspecified | v1::BreakerState::Closed)
}

fn of_service(name: &str, state: v1::BreakerState, status: v1::HealthStatus, counters: v1::CallCounters) -> Vec<Cell> {
    let (failed, done) = (counters.attempt_failures, counters.attempt_successes);
    let all = failed.saturating_add(done);
    let share = (u128::from(failed) * 10_000).checked_div(u128::from(all)).and_then(|share| u32::try_from(share).ok());
    vec![
        name.into(),
        shown(state),
        match status {
            v1::HealthStatus::Unspecified | v1::HealthStatus::Healthy => Cell::toned("healthy", Tone::Good),
            v1::HealthStatus::Degraded => Cell::toned("degraded", Tone::Warn),
            v1::HealthStatus::Unhealthy => Cell::toned("unhealthy", Tone::Bad),
            v1::HealthStatus::CircuitOpen => Cell::toned("circuit-open", Tone::Bad),
        },
        done.to_string().into(),
        failed.to_string().into(),
        basis_points(share).into(),
    ]
}

fn of_part(service: &str, breaker: &v1::BreakerStats) -> Vec<Cell> {
    let part = if breaker.pool.is_empty() { &breaker.method_glob } else { &breaker.pool };
    let state = match (breaker.open_instances, breaker.half_open_instances) {
        (0, 0) => v1::BreakerState::Closed,
        (0, _) => v1::BreakerState::HalfOpen,
        _ => v1::BreakerState::Open,
    };
    vec![format!("{service}/{part}").into(), shown(state), "".into(), "".into(), "".into(), "".into()]
}

/// A service without a breaker lets calls through, as a closed one does.
fn shown(state: v1::BreakerState) -> Cell {
    match state {
        v1::BreakerState::Unspecified | v1::BreakerState::Closed => Cell::toned("CLOSED", Tone::Good),
        v1::BreakerState::HalfOpen => Cell::toned("HALF_OPEN", Tone::Warn),
        v1::BreakerState::Open => Cell::toned("OPEN", Tone::Bad),
    }
}
