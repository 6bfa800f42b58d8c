use super::super::Error;
use super::super::convergence::{contained, counts, laggard};
use super::super::explain;
use super::super::get::level;
use super::super::ordered;
use super::super::session::{Session, say_lacks};
use super::super::stats::{figures, recoveries};
use super::{ServiceArgs, past};
use crate::clock;
use crate::message::short_name;
use crate::output::{Style, Tone, age, std_duration};
use cofferdam_proto::v1;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

/// Describes a service.
pub(super) async fn run(args: &ServiceArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if let Some(at) = args.at {
        return past::run(&args.service, at, session).await;
    }
    let place = session.place(&args.service);
    let (namespace, service) = place.clone();
    let info = session.info(&args.service).await?;
    if session.format.is_document() {
        return session.document(&info);
    }
    let convergence =
        v1::GetConvergenceRequest { namespace: namespace.clone(), service: service.clone(), ..Default::default() };
    let stats =
        v1::GetIsolationStatsRequest { namespace, service, window: args.window.to_wire(), ..Default::default() };
    let explain = v1::ExplainRequest {
        namespace: convergence.namespace.clone(),
        service: convergence.service.clone(),
        ..Default::default()
    };
    let (convergence, stats, explained) = tokio::try_join!(
        session.client.call(convergence),
        Box::pin(session.client.stats(stats)),
        Box::pin(session.client.call(explain)),
    )?;
    say_lacks(info.stale_for, &info.unreachable_managers);
    let seen = Seen {
        isolated: info.service.clone().unwrap_or_default(),
        info,
        convergence: convergence.convergence.unwrap_or_default(),
        stats: stats.services.into_iter().next().unwrap_or_default(),
        now: clock::now(),
        name: session.shown(&place.0, &place.1),
    };
    let style = session.style;
    seen.print(session.out, style)?;
    writeln!(session.out, "calls, {}", args.window.words())?;
    for (name, value) in figures(&seen.stats.calls.unwrap_or_default()) {
        entry(session.out, name, &value)?;
    }
    writeln!(session.out)?;
    if let Some((table, more)) = explain::rejected::table(&explained.rejections) {
        session.table(&table)?;
        more.iter().try_for_each(|line| writeln!(session.out, "{line}"))?;
        writeln!(session.out)?;
    }
    let containment = seen.convergence.services.iter().find_map(|service| service.containment.as_ref());
    match containment {
        None => writeln!(session.out, "policy in force")?,
        Some(v1::Containment { in_place: Some(in_place), .. }) => {
            let (name, revision) = (&seen.name, in_place.revision);
            let look = session.hints.command(&format!("cofferdam describe service {name} --at {revision}"));
            writeln!(session.out, "policy as it is written; calls go by the one of revision {revision} ({look})")?;
        }
        Some(_) => writeln!(session.out, "policy as it is written, which is not handed out")?,
    }
    session.table(&explain::table(&explained.fields))
}

/// All that was answered.
struct Seen {
    info: v1::GetServiceIsolationInfoResponse,
    isolated: v1::IsolatedService,
    convergence: v1::Convergence,
    stats: v1::ServiceStats,
    now: SystemTime,
    /// Its name, as it can be typed.
    name: String,
}

impl Seen {
    fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let service = self.isolated.service.clone().unwrap_or_default();
        let revision = self.isolated.revision.unwrap_or_default();
        entry(out, "name", &service.name)?;
        entry(out, "namespace", &service.namespace)?;
        entry(out, "version", &service.version)?;
        entry(out, "description", &service.description)?;
        entry(out, "enabled", if service.enabled == Some(false) { "no: every call is rejected" } else { "yes" })?;
        let endpoints: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
        entry(out, "endpoints", &endpoints.join(", "))?;
        let needs = |one: &v1::Dependency| {
            let kind = if one.kind() == v1::DependencyKind::Optional { "optional" } else { "critical" };
            format!("{} ({kind})", one.service)
        };
        entry(out, "depends on", &service.dependencies.iter().map(needs).collect::<Vec<_>>().join(", "))?;
        let mut labels: Vec<_> = service.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.sort();
        entry(out, "labels", &labels.join(", "))?;
        entry(out, "level", &ordered::temporary_level(&self.isolated).unwrap_or_else(|| level(&self.isolated)))?;
        entry(out, "revision", &format!("{} of epoch {}", revision.revision, revision.epoch))?;
        entry(out, "changed", &self.ago(self.isolated.update_time))?;
        entry(out, "registered", &self.ago(self.isolated.create_time))?;
        if self.isolated.insisted {
            entry(out, "insisted", "yes: instances do not put it back, whatever it turns away")?;
        }
        entry(out, "health", &self.health(self.isolated.health.as_ref()))?;
        entry(out, "reported", &self.health(self.isolated.reported_health.as_ref()))?;
        self.print_breakers(out, style)?;
        self.print_convergence(out, style)?;
        if let Some(done) = self.stats.recoveries.filter(|done| done.count > 0) {
            entry(out, "recoveries", &recoveries(&done))?;
        }
        if !self.info.inactive_fields.is_empty() {
            entry(out, "not in force", &format!("{} at this level", self.info.inactive_fields.join(", ")))?;
        }
        writeln!(out)
    }

    fn print_breakers(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let own = self.stats.own_breaker.clone().unwrap_or_default();
        let (state, tone) = match own.state() {
            v1::BreakerState::Unspecified => ("nobody has one", Tone::Plain),
            v1::BreakerState::Closed => ("closed", Tone::Good),
            v1::BreakerState::Open => ("open", Tone::Bad),
            v1::BreakerState::HalfOpen => ("half-open", Tone::Warn),
        };
        let mut text = style.paint(tone, state);
        let not_closed = own.open_instances.saturating_add(own.half_open_instances);
        let ids = self.stats.open_instance_ids.join(", ");
        if not_closed > 0 {
            text.push_str(&format!(" at {not_closed} of {} instances", self.stats.instances));
        }
        let is_all = not_closed == self.stats.open_instances;
        if not_closed > 0 && is_all {
            text.push_str(&format!(": {ids}"));
        }
        text.push_str(called_by_managers(&own));
        entry(out, "breaker", &text)?;
        for hold in &self.isolated.holds {
            entry(out, "held", &ordered::hold(hold))?;
            entry(out, "", &format!("to end it: {}", ordered::release(&self.name, hold)))?;
        }
        for one in &self.stats.breakers {
            let name =
                if one.pool.is_empty() { format!("methods {}", one.method_glob) } else { format!("pool {}", one.pool) };
            let open = format!("open at {}, half-open at {}", one.open_instances, one.half_open_instances);
            entry(out, "", &format!("{name}: {open}{}", called_by_managers(one)))?;
        }
        if !is_all {
            let of = format!("at {} of {} instances: {ids}", self.stats.open_instances, self.stats.instances);
            entry(out, "", &format!("one that is not closed {of}"))?;
        }
        if let Some(hint) = &self.stats.fleet_hint {
            let ends = age(std_duration(hint.ends_in));
            entry(
                out,
                "fleet hint",
                &format!("{} of {} instances are open; ends in {ends}", hint.open_instances, hint.instances),
            )?;
        }
        Ok(())
    }

    fn print_convergence(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let (applied, instances) = counts(&self.convergence);
        let tone = if applied == instances { Tone::Good } else { Tone::Warn };
        let text = if instances == 0 {
            "no instance uses it".to_owned()
        } else {
            style.paint(tone, &format!("{applied} of {instances} instances have it in force"))
        };
        entry(out, "in force", &text)?;
        for service in &self.convergence.services {
            service.laggards.iter().try_for_each(|one| entry(out, "", &laggard(one)))?;
            if let Some(containment) = &service.containment {
                entry(out, "contained", &contained(containment))?;
                if let Some(in_place) = containment.in_place {
                    let back = format!("cofferdam rollback {} --to-revision {}", self.name, in_place.revision);
                    entry(out, "", &format!("to make that the policy: {back} --reason TEXT"))?;
                }
            }
        }
        Ok(())
    }

    fn health(&self, health: Option<&v1::ServiceHealth>) -> String {
        let Some(health) = health.filter(|health| health.status() != v1::HealthStatus::Unspecified) else {
            return String::new();
        };
        let status = short_name(health.status().as_str_name(), "HEALTH_STATUS_");
        let message = if health.message.is_empty() { String::new() } else { format!(": {}", health.message) };
        match self.ago(health.observe_time) {
            ago if ago.is_empty() => format!("{status}{message}"),
            ago => format!("{status}{message} ({ago})"),
        }
    }

    fn ago(&self, time: Option<prost_types::Timestamp>) -> String {
        let Some(time) = time.and_then(|time| SystemTime::try_from(time).ok()) else { return String::new() };
        // Clocks differ: what lies ahead of this machine's is now.
        let ago = self.now.duration_since(time).unwrap_or(Duration::ZERO);
        format!("{} ago", age(Some(ago)))
    }
}

/// Where a breaker is worse than at any instance: a manager makes calls as well, for those who ask it to.
fn called_by_managers(breaker: &v1::BreakerStats) -> &'static str {
    match (breaker.state(), breaker.open_instances, breaker.half_open_instances) {
        (v1::BreakerState::Open, 0, _) => ", open for calls that a manager makes",
        (v1::BreakerState::HalfOpen, 0, 0) => ", half-open for calls that a manager makes",
        _ => "",
    }
}

/// A name and what is to be said of it. Nothing where there is nothing to be said.
pub(super) fn entry(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() { Ok(()) } else { writeln!(out, "{name:<28}{value}") }
}
