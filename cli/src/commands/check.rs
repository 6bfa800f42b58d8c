//! `cofferdam check`: whether all is well, line by line, each with what mends it.

use super::Error;
use super::convergence::{contained, laggard};
use super::ordered;
use super::session::{ALL_NAMESPACES, Common, Session};
use crate::client::CallError;
use crate::output::{Document, Format, Hints, PrintError, Tone, counted, print_document};
use clap::Args;
use cofferdam_proto::v1;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use tokio::time::Instant;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

pub(super) const HELP: &str = "\
Exit codes: 0 all is well, 3 something is degraded, 4 a breaker is open, 1 no manager answers.

Examples:
  cofferdam check
  cofferdam check -q || alert
  cofferdam check -q -o json";

/// The name under which a manager tells of its store.
const STORE: &str = "cofferdam.Store";

/// How many namespaces are asked about at a time.
const TOGETHER: usize = 8;

/// How many instances that are behind are named for each service.
const NAMED: usize = 3;

/// What is looked at of a service.
const FIELDS: &[&str] =
    &["service.namespace", "service.name", "written_policy", "breaker_state", "health", "holds", "temporary_level"];

/// What to look at.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Print only what is not well
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// How one thing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Fine,
    Degraded,
    Open,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    verdict: Verdict,
    /// Of which service. Empty: of none, or of several.
    of: String,
    text: String,
    /// What is known of it beyond that, a line each.
    more: Vec<String>,
    mend: String,
}

/// Does it.
pub(super) async fn run(args: &CheckArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let lines = look(args, session).await?;
    let shown = lines.iter().filter(|line| !args.quiet || line.verdict != Verdict::Fine);
    let written = match session.format {
        Format::Json | Format::Yaml => print_document(session.out, session.format, &document(shown, &session.hints)),
        // Names are refused.
        Format::Table | Format::Wide | Format::Name => print(shown, session).map_err(PrintError::from),
    };
    match found(&lines) {
        None => Ok(written?),
        Some(error) => Err(error),
    }
}

/// What was found, in all. `None`: all is well.
fn found(lines: &[Line]) -> Option<Error> {
    // A breaker that is held is told with what it is in, and with the hold: of a service, it is one.
    let open: BTreeSet<_> = lines.iter().filter(|line| line.verdict == Verdict::Open).map(|line| &line.of).collect();
    let degraded = lines.iter().filter(|line| line.verdict == Verdict::Degraded).count();
    match (open.len(), degraded) {
        (0, 0) => None,
        (0, _) => {
            let checks = counted(degraded, "check", "checks");
            Some(Error::Degraded(vec![format!("{checks} of {} not well", lines.len())]))
        }
        (open, _) => {
            let services = counted(open, "service has a breaker", "services have breakers");
            let checks = counted(degraded, "further check is", "further checks are");
            Some(Error::Open(vec![format!("{services} open or held open, {checks} not well")]))
        }
    }
}

async fn look(args: &CheckArgs, session: &Session<'_>) -> Result<Vec<Line>, Error> {
    let mut lines = Vec::new();
    let asked = Instant::now();
    let serves = session.client.call(HealthCheckRequest { service: String::new() }).await?;
    let took = asked.elapsed().as_millis();
    let server = session.client.server();
    lines.push(match serves.status() {
        ServingStatus::Serving => fine(format!("manager     {server} answers ({took} ms)")),
        _ => degraded(format!("manager     {server} is stopping"), "cofferdam serve"),
    });
    let store = session.client.call(HealthCheckRequest { service: STORE.to_owned() }).await?;
    lines.push(match store.status() {
        ServingStatus::Serving => fine("store       takes writes".to_owned()),
        _ => degraded(
            "store       is away, or takes no writes".to_owned(),
            &format!("curl '{}/readyz?verbose', and the manager's log", session.client.server()),
        ),
    });
    let everywhere = args.all_namespaces || session.namespace == ALL_NAMESPACES;
    let namespace = if everywhere { ALL_NAMESPACES } else { &session.namespace };
    let list = async {
        let services = session.client.services(namespace, FIELDS).await?;
        let mut namespaces: Vec<_> =
            services.services.iter().filter_map(|one| Some(one.service.as_ref()?.namespace.clone())).collect();
        namespaces.dedup();
        if namespaces.is_empty() {
            namespaces.push(if everywhere { "default".to_owned() } else { namespace.to_owned() });
        }
        let convergence = |namespace| {
            session.client.call(v1::GetConvergenceRequest { namespace, max_laggards: 1000, ..Default::default() })
        };
        let convergences = stream::iter(namespaces).map(convergence).buffered(TOGETHER);
        Ok::<_, CallError>((services, convergences.try_collect::<Vec<_>>().await?))
    };
    // Side by side: a manager waits for one that does not answer, each time that it is asked.
    let stats = session.client.stats(v1::GetIsolationStatsRequest::default());
    let (stats, (services, convergences)) = tokio::try_join!(Box::pin(stats), Box::pin(list))?;
    lines.extend(versions(&stats));
    let mut in_use = 0;
    for convergence in convergences {
        let convergence = convergence.convergence.unwrap_or_default();
        if !lines.iter().any(|line| line.text.starts_with("managers")) {
            lines.extend(peers(&convergence));
        }
        lines.extend(in_step(&convergence, session));
        in_use += convergence.converged_services;
    }
    if !lines.iter().any(|line| line.text.starts_with("policies")) {
        lines.push(fine(format!("policies    in force at every instance ({in_use} services are in use)")));
    }
    for service in &services.services {
        lines.extend(health(service, session));
        lines.extend(orders(service, session));
    }
    lines.push(fine(format!("services    {} looked at", services.services.len())));
    Ok(lines)
}

/// The releases that are there, beside this one.
fn versions(stats: &v1::GetIsolationStatsResponse) -> Vec<Line> {
    let own = env!("CARGO_PKG_VERSION");
    let manager = stats.manager_version.as_str();
    let said = match manager {
        "" => degraded(format!("versions    this is {own}, the manager is of an earlier release"), "cofferdam version"),
        manager if manager == own => fine(format!("versions    {own}, here and there")),
        manager => degraded(format!("versions    this is {own}, the manager {manager}"), "cofferdam version"),
    };
    let sdks = stats.stats.as_ref().map(|stats| stats.sdks.clone()).unwrap_or_default();
    let mut sdks: Vec<_> = sdks.into_iter().collect();
    sdks.sort();
    let named = |(sdk, count): &(String, u32)| format!("{count} {}", if sdk.is_empty() { "unknown" } else { sdk });
    let instances = sdks.iter().map(named).collect::<Vec<_>>().join(", ");
    let instances = if instances.is_empty() { "none is connected".to_owned() } else { instances };
    vec![said, fine(format!("instances   {instances}"))]
}

fn peers(convergence: &v1::Convergence) -> Vec<Line> {
    if convergence.unreachable_managers.is_empty() {
        return vec![fine("managers    all answer".to_owned())];
    }
    let line = |manager: &v1::UnreachableManager| {
        let name = if manager.address.is_empty() { &manager.id } else { &manager.address };
        degraded(
            format!("managers    {name} does not answer: {}", manager.reason),
            &format!("cofferdam check -s {name}"),
        )
    };
    convergence.unreachable_managers.iter().map(line).collect()
}

fn in_step(convergence: &v1::Convergence, session: &Session<'_>) -> Vec<Line> {
    let is_behind = |one: &&v1::ServiceConvergence| one.applied < one.instances || one.containment.is_some();
    let line = |one: &v1::ServiceConvergence| {
        let name = session.shown(&one.namespace, &one.service);
        let text = format!("policies    {name}: {}/{} instances have it in force", one.applied, one.instances);
        let mut more: Vec<_> = one.laggards.iter().take(NAMED).map(laggard).collect();
        let rest = one.laggards.len().saturating_sub(NAMED);
        if rest > 0 {
            more.push(format!("and {rest} more"));
        }
        if let Some(containment) = &one.containment {
            more.push(format!("contained {}", contained(containment)));
        }
        Line { more, ..degraded(text, &format!("cofferdam describe service {name}")) }
    };
    convergence.services.iter().filter(is_behind).map(line).collect()
}

/// What is wrong with a service. `None`: nothing.
fn health(isolated: &v1::IsolatedService, session: &Session<'_>) -> Option<Line> {
    let service = isolated.service.as_ref()?;
    let name = session.shown(&service.namespace, &service.name);
    let mend = format!("cofferdam describe service {name}");
    let status = isolated.health.as_ref().map_or(v1::HealthStatus::Unspecified, v1::ServiceHealth::status);
    // One that is held open is told as that.
    let is_open = (isolated.breaker_state() == v1::BreakerState::Open || status == v1::HealthStatus::CircuitOpen)
        && !isolated.holds.iter().any(|hold| ordered::rejects(hold) && ordered::is_whole(hold));
    let message = isolated.health.as_ref().map(|health| health.message.as_str()).filter(|message| !message.is_empty());
    let because = message.map_or_else(String::new, |message| format!(": {message}"));
    if is_open {
        return Some(Line {
            verdict: Verdict::Open,
            text: format!("breaker     {name} is open{because}"),
            of: name,
            more: Vec::new(),
            mend,
        });
    }
    let is_probing = isolated.breaker_state() == v1::BreakerState::HalfOpen;
    match status {
        v1::HealthStatus::Degraded => Some(degraded(format!("health      {name} is degraded{because}"), &mend)),
        v1::HealthStatus::Unhealthy => Some(degraded(format!("health      {name} is unhealthy{because}"), &mend)),
        _ if is_probing => Some(degraded(format!("breaker     {name} is half-open"), &mend)),
        _ => None,
    }
}

/// What operators have ordered: a hold is not well, for it stands over what breakers have learned.
fn orders(isolated: &v1::IsolatedService, session: &Session<'_>) -> Vec<Line> {
    let service = isolated.service.clone().unwrap_or_default();
    let name = session.shown(&service.namespace, &service.name);
    let hold = |hold: &v1::Hold| Line {
        verdict: if ordered::rejects(hold) { Verdict::Open } else { Verdict::Degraded },
        of: name.clone(),
        text: format!("hold        {name}: {}", ordered::hold(hold)),
        more: Vec::new(),
        mend: ordered::release(&name, hold),
    };
    let level = ordered::temporary_level(isolated).map(|level| fine(format!("level       {name}: {level}")));
    isolated.holds.iter().map(hold).chain(level).collect()
}

fn fine(text: String) -> Line {
    Line { verdict: Verdict::Fine, of: String::new(), text, more: Vec::new(), mend: String::new() }
}

fn degraded(text: String, mend: &str) -> Line {
    Line { verdict: Verdict::Degraded, of: String::new(), text, more: Vec::new(), mend: mend.to_owned() }
}

/// The same for programs: what was looked at, how it does, and what mends it.
fn document<'a>(lines: impl Iterator<Item = &'a Line>, hints: &Hints) -> Document {
    let check = |line: &Line| {
        let (about, text) = line.text.split_once(' ').unwrap_or_default();
        let verdict = match line.verdict {
            Verdict::Fine => "ok",
            Verdict::Degraded => "degraded",
            Verdict::Open => "open",
        };
        let mut check = json!({ "verdict": verdict, "about": about, "text": text.trim_start() });
        if !line.more.is_empty() {
            check["more"] = json!(line.more);
        }
        if !line.mend.is_empty() {
            check["try"] = json!(hints.command(&line.mend));
        }
        check
    };
    Document::Own(json!({ "checks": lines.map(check).collect::<Vec<_>>() }))
}

fn print<'a>(lines: impl Iterator<Item = &'a Line>, session: &mut Session<'_>) -> io::Result<()> {
    for line in lines {
        let (mark, tone) = match line.verdict {
            Verdict::Fine => ("ok  ", Tone::Good),
            Verdict::Degraded => ("bad ", Tone::Warn),
            Verdict::Open => ("open", Tone::Bad),
        };
        writeln!(session.out, "{} {}", session.style.paint(tone, mark), line.text)?;
        line.more.iter().try_for_each(|more| writeln!(session.out, "              {more}"))?;
        if !line.mend.is_empty() {
            writeln!(session.out, "       try: {}", line.mend)?;
        }
    }
    session.out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, they were two breakers.
    #[test]
    fn a_breaker_that_is_open_and_held_is_one() {
        let open = |of: &str| Line { verdict: Verdict::Open, of: of.to_owned(), ..fine(String::new()) };
        let told = |lines: &[Line]| found(lines).map(|error| error.to_string());
        let bad = degraded(String::new(), "");
        assert_eq!(
            told(&[open("pay"), open("pay"), bad.clone()]).as_deref(),
            Some("1 service has a breaker open or held open, 1 further check is not well")
        );
        assert_eq!(
            told(&[open("pay"), open("prices")]).as_deref(),
            Some("2 services have breakers open or held open, 0 further checks are not well")
        );
        assert_eq!(told(&[bad, fine(String::new())]).as_deref(), Some("1 check of 2 not well"));
        assert_eq!(told(&[fine(String::new())]), None);
    }
}
