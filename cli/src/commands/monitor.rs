//! `cofferdam monitor`: all breakers at a glance, as `monitor-circuit-breakers.sh` shows them.

use super::Error;
use super::session::{ALL_NAMESPACES, Common, Session, lacks};
use crate::clock;
use crate::output::{
    Cell, Document, Format, Table, Tone, basis_points, complain, counted, print_document, print_line, say,
};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

pub(super) const HELP: &str = "\
A breaker that pools or methods have to themselves has a line of its own, as SERVICE/POOL. SUCCESSES and FAILURES are attempts
since the managers started. The exit code is 4 where one is not closed. With watch, -o json prints a line for each look.

Examples:
  cofferdam monitor
  cofferdam monitor watch
  cofferdam monitor watch -o json";

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

/// A breaker, and how the service does that it is of.
struct Breaker {
    /// The namespace of the service.
    namespace: String,
    /// The service.
    service: String,
    /// The pool or the methods that have it to themselves. `None`: it is the service's.
    part: Option<v1::BreakerStats>,
    /// Its state.
    state: v1::BreakerState,
    /// How the service does.
    status: v1::HealthStatus,
    /// What became of the service's attempts.
    counters: v1::CallCounters,
}

/// Does it.
pub(super) async fn run(args: &MonitorArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if args.all_namespaces {
        ALL_NAMESPACES.clone_into(&mut session.namespace);
    }
    if args.mode.is_none() {
        let breakers = look(session).await?;
        print(&breakers, None, session)?;
        return match breakers.iter().filter(|breaker| !is_closed(breaker.state)).count() {
            0 => Ok(()),
            count => Err(Error::Open(vec![counted(count, "breaker is", "breakers are") + " not closed"])),
        };
    }
    let mut looks = tokio::time::interval(args.every.max(Duration::from_millis(100)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        looks.tick().await;
        match look(session).await {
            Ok(breakers) => print(&breakers, Some(clock::now()), session)?,
            // A manager that is away is asked on; one that was never there is a mistake.
            Err(Error::Call(error)) if !is_first => complain(&format!("{}; asking again", error.in_a_line())),
            Err(error) => return Err(error),
        }
        is_first = false;
    }
}

/// All breakers, service by service.
async fn look(session: &Session<'_>) -> Result<Vec<Breaker>, Error> {
    let namespace = if session.namespace == ALL_NAMESPACES { String::new() } else { session.namespace.clone() };
    let request = v1::GetIsolationStatsRequest { namespace, include_services: true, ..Default::default() };
    let fields = &["service.namespace", "service.name", "health"];
    let services = Box::pin(session.client.services(&session.namespace, fields));
    let (list, stats) = tokio::try_join!(services, Box::pin(session.client.stats(request)))?;
    lacks(list.stale_for, &stats.unreachable_managers).iter().for_each(|lack| say(lack));
    let mut stats: HashMap<_, _> =
        stats.services.into_iter().map(|one| ((one.namespace.clone(), one.service.clone()), one)).collect();
    let mut breakers = Vec::new();
    for isolated in list.services {
        let health = isolated.health.as_ref().map(v1::ServiceHealth::status);
        let v1::Service { namespace, name: service, .. } = isolated.service.unwrap_or_default();
        let figures = stats.remove(&(namespace.clone(), service.clone())).unwrap_or_default();
        let (status, counters) = (health.unwrap_or_default(), figures.counters.unwrap_or_default());
        let own = figures.own_breaker.unwrap_or_default().state();
        let parts = figures.breakers.into_iter().map(|part| (part.state(), Some(part)));
        for (state, part) in std::iter::once((own, None)).chain(parts) {
            let (namespace, service) = (namespace.clone(), service.clone());
            breakers.push(Breaker { namespace, service, part, state, status, counters });
        }
    }
    Ok(breakers)
}

/// Prints what was seen, at this time where there is more to come.
fn print(breakers: &[Breaker], at: Option<SystemTime>, session: &mut Session<'_>) -> Result<(), Error> {
    let at = at.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    match (session.format, at) {
        (Format::Json, Some(time)) => return Ok(print_line(session.out, &document(breakers, Some(&time)))?),
        (format @ (Format::Json | Format::Yaml), at) => {
            return Ok(print_document(session.out, format, &document(breakers, at.as_deref()))?);
        }
        (_, Some(time)) => writeln!(session.out, "{time}")?,
        (_, None) => {}
    }
    if session.format == Format::Name {
        return Ok(breakers.iter().try_for_each(|breaker| writeln!(session.out, "{}", breaker.name(session)))?);
    }
    if breakers.is_empty() {
        say("no service is registered");
        say(&session.hints.line("try: cofferdam register NAME --endpoint HOST:PORT"));
        return Ok(());
    }
    let yielding = &[("SUCCESSES", 0), ("FAILURES", 0), ("STATUS", 0)];
    let mut table = Table::new(["SERVICE", "STATE", "STATUS", "SUCCESSES", "FAILURES", "FAIL%"]).yielding(yielding);
    breakers.iter().for_each(|breaker| table.push(breaker.row(session)));
    session.table(&table)
}

/// The same for programs, in the words of the table.
fn document(breakers: &[Breaker], time: Option<&str>) -> Document {
    let mut document = json!({ "breakers": breakers.iter().map(Breaker::json).collect::<Vec<_>>() });
    if let Some(time) = time {
        document["time"] = json!(time);
    }
    Document::Own(document)
}

impl Breaker {
    /// As it can be typed; a part's is below that of its service.
    fn name(&self, session: &Session<'_>) -> String {
        let service = session.shown(&self.namespace, &self.service);
        match &self.part {
            None => service,
            Some(part) if part.pool.is_empty() => format!("{service}/{}", part.method_glob),
            Some(part) => format!("{service}/{}", part.pool),
        }
    }

    /// Figures are the service's, and stand beside its own breaker.
    fn row(&self, session: &Session<'_>) -> Vec<Cell> {
        let (state, tone) = state(self.state);
        let mut row = vec![self.name(session).into(), Cell::toned(state, tone)];
        if self.part.is_some() {
            row.extend(["", "", "", ""].map(Cell::from));
            return row;
        }
        let (status, tone) = status(self.status);
        row.extend([
            Cell::toned(status, tone),
            self.counters.attempt_successes.to_string().into(),
            self.counters.attempt_failures.to_string().into(),
            basis_points(failed_share(&self.counters)).into(),
        ]);
        row
    }

    fn json(&self) -> Value {
        let mut json = json!({ "namespace": self.namespace, "service": self.service, "state": state(self.state).0 });
        match &self.part {
            Some(part) if part.pool.is_empty() => json["methodGlob"] = json!(part.method_glob),
            Some(part) => json["pool"] = json!(part.pool),
            None => {
                json["status"] = json!(status(self.status).0);
                json["successes"] = json!(self.counters.attempt_successes);
                json["failures"] = json!(self.counters.attempt_failures);
            }
        }
        json
    }
}

/// The share of attempts that failed, in hundredths of a percent. `None`: there were none.
fn failed_share(counters: &v1::CallCounters) -> Option<u32> {
    let (failed, done) = (counters.attempt_failures, counters.attempt_successes);
    let share = (u128::from(failed) * 10_000).checked_div(u128::from(failed) + u128::from(done))?;
    u32::try_from(share).ok()
}

fn is_closed(state: v1::BreakerState) -> bool {
    matches!(state, v1::BreakerState::Unspecified | v1::BreakerState::Closed)
}

/// A service without a breaker lets calls through, as a closed one does.
const fn state(state: v1::BreakerState) -> (&'static str, Tone) {
    match state {
        v1::BreakerState::Unspecified | v1::BreakerState::Closed => ("CLOSED", Tone::Good),
        v1::BreakerState::HalfOpen => ("HALF_OPEN", Tone::Warn),
        v1::BreakerState::Open => ("OPEN", Tone::Bad),
    }
}

const fn status(status: v1::HealthStatus) -> (&'static str, Tone) {
    match status {
        v1::HealthStatus::Unspecified | v1::HealthStatus::Healthy => ("healthy", Tone::Good),
        v1::HealthStatus::Degraded => ("degraded", Tone::Warn),
        v1::HealthStatus::Unhealthy => ("unhealthy", Tone::Bad),
        v1::HealthStatus::CircuitOpen => ("circuit-open", Tone::Bad),
    }
}
