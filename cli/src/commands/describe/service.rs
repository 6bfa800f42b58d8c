mod answers;

use self::answers::{ask, missing};
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
    if session.format.is_document() {
        let info = session.info(&args.service).await?;
        return session.document(&info);
    }
    let mut answers = ask(args, session).await?;
    let stats = answers.stats.as_mut().and_then(|stats| stats.services.pop());
    let (stale_for, unreachable) = answers.lacks();
    say_lacks(stale_for, &unreachable);
    let place = session.place(&args.service);
    let seen = Seen {
        isolated: answers.info.as_ref().and_then(|info| info.service.clone()),
        // Since the manager started, it has figures of its own.
        stats: stats.clone().or_else(|| answers.info.as_ref()?.stats.clone()),
        inactive_fields: answers.info.map(|info| info.inactive_fields).unwrap_or_default(),
        convergence: answers.convergence.and_then(|answer| answer.convergence),
        now: clock::now(),
        name: session.shown(&place.0, &place.1),
        namespace: place.0,
    };
    let style = session.style;
    seen.print(session.out, style)?;
    if let Some(stats) = stats {
        writeln!(session.out, "calls, {}", args.window.words())?;
        for (name, value) in figures(&stats.calls.unwrap_or_default()) {
            entry(session.out, name, &value)?;
        }
        writeln!(session.out)?;
    }
    if let Some(explained) = answers.explained {
        print_explained(&explained, &seen, session)?;
    }
    match missing(&seen.name, &answers.missing) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Prints the calls that were turned away, and the policy in force.
fn print_explained(explained: &v1::ExplainResponse, seen: &Seen, session: &mut Session<'_>) -> Result<(), Error> {
    if let Some((table, more)) = explain::rejected::table(&explained.rejections) {
        session.table(&table)?;
        more.iter().try_for_each(|line| writeln!(session.out, "{line}"))?;
        writeln!(session.out)?;
    }
    let services = seen.convergence.iter().flat_map(|convergence| &convergence.services);
    let mut containments = services.filter_map(|service| service.containment.as_ref());
    match containments.next() {
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

/// What there is to show; absent is what was not answered.
struct Seen {
    isolated: Option<v1::IsolatedService>,
    inactive_fields: Vec<String>,
    convergence: Option<v1::Convergence>,
    stats: Option<v1::ServiceStats>,
    now: SystemTime,
    /// Its name, as it can be typed.
    name: String,
    namespace: String,
}

impl Seen {
    fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        match &self.isolated {
            Some(isolated) => self.print_registered(isolated, out)?,
            None => {
                entry(out, "name", &self.name)?;
                entry(out, "namespace", &self.namespace)?;
            }
        }
        if let Some(stats) = &self.stats {
            self.print_breakers(stats, out, style)?;
        }
        if let Some(convergence) = &self.convergence {
            self.print_convergence(convergence, out, style)?;
        }
        if let Some(done) = self.stats.as_ref().and_then(|stats| stats.recoveries).filter(|done| done.count > 0) {
            entry(out, "recoveries", &recoveries(&done))?;
        }
        if !self.inactive_fields.is_empty() {
            entry(out, "not in force", &format!("{} at this level", self.inactive_fields.join(", ")))?;
        }
        writeln!(out)
    }

    fn print_registered(&self, isolated: &v1::IsolatedService, out: &mut dyn Write) -> io::Result<()> {
        let service = isolated.service.clone().unwrap_or_default();
        let revision = isolated.revision.unwrap_or_default();
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
        entry(out, "level", &ordered::temporary_level(isolated).unwrap_or_else(|| level(isolated)))?;
        entry(out, "revision", &format!("{} of epoch {}", revision.revision, revision.epoch))?;
        entry(out, "changed", &self.ago(isolated.update_time))?;
        entry(out, "registered", &self.ago(isolated.create_time))?;
        if isolated.insisted {
            entry(out, "insisted", "yes: instances do not put it back, whatever it turns away")?;
        }
        entry(out, "health", &self.health(isolated.health.as_ref()))?;
        entry(out, "reported", &self.health(isolated.reported_health.as_ref()))
    }

    fn print_breakers(&self, stats: &v1::ServiceStats, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let own = stats.own_breaker.clone().unwrap_or_default();
        let (state, tone) = match own.state() {
            v1::BreakerState::Unspecified => ("nobody has one", Tone::Plain),
            v1::BreakerState::Closed => ("closed", Tone::Good),
            v1::BreakerState::Open => ("open", Tone::Bad),
            v1::BreakerState::HalfOpen => ("half-open", Tone::Warn),
        };
        let mut text = style.paint(tone, state);
        let not_closed = own.open_instances.saturating_add(own.half_open_instances);
        let ids = stats.open_instance_ids.join(", ");
        if not_closed > 0 {
            let at = match (own.open_instances, own.half_open_instances) {
                (open @ 1.., half_open @ 1..) => format!(" at {open}, half-open at {half_open}"),
                _ => format!(" at {not_closed}"),
            };
            text.push_str(&format!("{at} of {} instances", stats.instances));
        }
        let is_all = not_closed == stats.open_instances;
        if not_closed > 0 && is_all {
            text.push_str(&format!(": {ids}"));
        }
        text.push_str(called_by_managers(&own));
        entry(out, "breaker", &text)?;
        for hold in self.isolated.iter().flat_map(|isolated| &isolated.holds) {
            entry(out, "held", &ordered::hold(hold))?;
            entry(out, "", &format!("to end it: {}", ordered::release(&self.name, hold)))?;
        }
        for one in &stats.breakers {
            let name =
                if one.pool.is_empty() { format!("methods {}", one.method_glob) } else { format!("pool {}", one.pool) };
            let open = format!("open at {}, half-open at {}", one.open_instances, one.half_open_instances);
            entry(out, "", &format!("{name}: {open}{}", called_by_managers(one)))?;
        }
        if !is_all {
            let of = format!("at {} of {} instances: {ids}", stats.open_instances, stats.instances);
            entry(out, "", &format!("one that is not closed {of}"))?;
        }
        if let Some(hint) = &stats.fleet_hint {
            let ends = age(std_duration(hint.ends_in));
            entry(
                out,
                "fleet hint",
                &format!("{} of {} instances are open; ends in {ends}", hint.open_instances, hint.instances),
            )?;
        }
        Ok(())
    }

    fn print_convergence(&self, convergence: &v1::Convergence, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let (applied, instances) = counts(convergence);
        let tone = if applied == instances { Tone::Good } else { Tone::Warn };
        let text = if instances == 0 {
            "no instance uses it".to_owned()
        } else {
            style.paint(tone, &format!("{applied} of {instances} instances have it in force"))
        };
        entry(out, "in force", &text)?;
        for service in &convergence.services {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let service = v1::Service { name: "payments".to_owned(), version: "1.2".to_owned(), ..Default::default() };
        let reads = v1::BreakerStats { pool: "reads".to_owned(), open_instances: 1, state: 2, ..Default::default() };
        Seen {
            isolated: Some(v1::IsolatedService { service: Some(service), ..Default::default() }),
            inactive_fields: Vec::new(),
            convergence: Some(v1::Convergence::default()),
            stats: Some(v1::ServiceStats {
                instances: 3,
                open_instances: 1,
                open_instance_ids: vec!["pay-1".to_owned()],
                own_breaker: Some(v1::BreakerStats { state: v1::BreakerState::Closed.into(), ..Default::default() }),
                breakers: vec![reads],
                ..Default::default()
            }),
            now: SystemTime::UNIX_EPOCH,
            name: "shop/payments".to_owned(),
            namespace: "shop".to_owned(),
        }
    }

    fn printed(seen: &Seen) -> String {
        let mut out = Vec::new();
        seen.print(&mut out, Style::new(false, true)).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Nothing at all was printed where one answer of four was late.
    #[test]
    fn what_was_answered_is_shown_without_the_rest() {
        let whole = printed(&seen());
        for line in ["version                     1.2", "breaker                     closed", "in force "] {
            assert!(whole.contains(line), "{line}: {whole}");
        }
        let lines: Vec<_> = whole.lines().map(str::trim).collect();
        assert!(lines.contains(&"pool reads: open at 1, half-open at 0"), "{whole}");
        assert!(lines.contains(&"one that is not closed at 1 of 3 instances: pay-1"), "{whole}");

        let unregistered = printed(&Seen { isolated: None, ..seen() });
        assert!(unregistered.starts_with("name                        shop/payments\n"), "{unregistered}");
        assert!(unregistered.contains("breaker                     closed"), "{unregistered}");
        let torn = v1::BreakerStats { state: 2, open_instances: 1, half_open_instances: 1, ..Default::default() };
        let stats = v1::ServiceStats {
            open_instance_ids: vec!["pay-1".to_owned(), "pay-2".to_owned()],
            open_instances: 2,
            own_breaker: Some(torn),
            ..seen().stats.unwrap_or_default()
        };
        let both = printed(&Seen { stats: Some(stats), ..seen() });
        assert!(both.contains("  open at 1, half-open at 1 of 3 instances: pay-1, pay-2"), "{both}");
        let no_figures = printed(&Seen { stats: None, convergence: None, ..seen() });
        assert!(no_figures.contains("version                     1.2"), "{no_figures}");
        assert!(!no_figures.contains("breaker") && !no_figures.contains("in force"), "{no_figures}");
    }
}
