//! `cofferdam stats`: what happened to calls.

use super::Error;
use super::get::{Window, fallbacks, window};
use super::session::{ALL_NAMESPACES, Common, ServiceName, Session, say_lacks};
use crate::output::{Cell, Table, Tone, age, basis_points, length, rate, std_duration};
use clap::Args;
use cofferdam_proto::v1;
use std::time::SystemTime;

pub(super) const HELP: &str = "\
Examples:
  cofferdam stats
  cofferdam stats payments --window 1h
  cofferdam stats payments --history
  cofferdam stats -o json";

/// Of what to show figures.
#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Only this service
    service: Option<ServiceName>,
    /// The figures of the last so long; `all` is since the manager started
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = window)]
    window: Window,
    /// What happened slot by slot, with the revisions that were made
    #[arg(long, requires = "service")]
    history: bool,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &StatsArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let everywhere = args.all_namespaces || session.namespace == ALL_NAMESPACES;
    let (namespace, service) = match &args.service {
        Some(name) => session.place(name),
        None if everywhere => (String::new(), String::new()),
        None => (session.namespace.clone(), String::new()),
    };
    let request = v1::GetIsolationStatsRequest {
        namespace,
        service,
        window: args.window.to_wire(),
        include_history: args.history,
        ..Default::default()
    };
    let answer = session.client.stats(request).await?;
    if session.format.is_document() {
        return session.document(&answer);
    }
    say_lacks(answer.stale_for, &answer.unreachable_managers);
    let table = if args.history { history(&answer.history) } else { table(args.window, &answer) };
    session.table(&table)
}

fn table(window: Window, answer: &v1::GetIsolationStatsResponse) -> Table {
    let mut table = Table::new(["FIGURE", "VALUE"]);
    let stats = answer.stats.clone().unwrap_or_default();
    let levels = [
        ("none", stats.none_isolation),
        ("basic", stats.basic_isolation),
        ("enhanced", stats.enhanced_isolation),
        ("full", stats.full_isolation),
    ];
    let levels: Vec<_> = levels.iter().filter(|(_, n)| *n > 0).map(|(level, n)| format!("{n} {level}")).collect();
    let mut put = |name: &str, value: String| table.push(vec![Cell::from(name), value.into()]);
    put("services", format!("{}{}", stats.total_services, in_brackets(&levels.join(", "))));
    put("with a fallback", stats.fallback_enabled.to_string());
    put("with a breaker open", stats.open_services.to_string());
    put("instances", stats.instances.to_string());
    put("window", window.words());
    for (name, value) in figures(&stats.calls.unwrap_or_default()) {
        put(name, value);
    }
    if let Some(recoveries) = stats.recoveries.filter(|recoveries| recoveries.count > 0) {
        put("recoveries", self::recoveries(&recoveries));
    }
    table
}

/// A line for each slot in which something happened.
fn history(points: &[v1::HistoryPoint]) -> Table {
    let mut table = Table::new(["BEGIN", "CALLS/S", "ERR%", "P99", "FALLBACK%", "OPENED", "REVISIONS"]);
    for point in points {
        let begin = point.begin_time.and_then(|time| SystemTime::try_from(time).ok());
        let calls = point.calls.as_ref();
        let counters = calls.and_then(|calls| calls.counters).unwrap_or_default();
        let revisions: Vec<_> = point.revisions.iter().map(|revision| revision.revision.to_string()).collect();
        table.push(vec![
            begin.map(|begin| humantime::format_rfc3339_seconds(begin).to_string()).unwrap_or_default().into(),
            calls.map_or_else(String::new, |calls| rate(calls.calls_per_second)).into(),
            basis_points(calls.and_then(|calls| calls.attempt_error_bp)).into(),
            length(calls.and_then(|calls| std_duration(calls.call_latency.as_ref()?.p99))).into(),
            basis_points(fallbacks(calls)).into(),
            if counters.breaker_opened > 0 { counters.breaker_opened.to_string() } else { String::new() }.into(),
            Cell::toned(revisions.join(", "), Tone::Warn),
        ]);
    }
    table
}

/// The figures of some calls, by name.
pub(super) fn figures(calls: &v1::CallStats) -> Vec<(&'static str, String)> {
    let counters = calls.counters.unwrap_or_default();
    let percent = |share: Option<u32>| match share {
        Some(_) => format!("{}%", basis_points(share)),
        None => String::new(),
    };
    let latency = |stats: Option<&v1::LatencyStats>| {
        stats.map_or_else(String::new, |stats| {
            let time = |wire| length(std_duration(wire));
            format!("p50 {}, p90 {}, p99 {}", time(stats.p50), time(stats.p90), time(stats.p99))
        })
    };
    let mut rejected: Vec<_> = calls.rejected.iter().filter(|(_, count)| **count > 0).collect();
    rejected.sort();
    let rejected: Vec<_> = rejected.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    vec![
        ("calls", format!("{} ({}/s)", counters.calls, rate(calls.calls_per_second))),
        ("calls that failed", percent(calls.error_bp)),
        ("served by a fallback", percent(fallbacks(Some(calls)))),
        ("call latency", latency(calls.call_latency.as_ref())),
        ("attempts", format!("{} ({}/s)", counters.attempts, rate(calls.attempts_per_second))),
        ("attempts that failed", percent(calls.attempt_error_bp)),
        ("attempts that were retries", percent(calls.retry_bp)),
        ("attempt latency", latency(calls.attempt_latency.as_ref())),
        ("rejected", rejected.join(", ")),
        ("breakers opened", counters.breaker_opened.to_string()),
    ]
}

/// How long breakers took to recover, in a line.
pub(super) fn recoveries(stats: &v1::RecoveryStats) -> String {
    let time = |wire| age(std_duration(wire));
    format!(
        "{}: last {}, half within {}, longest {}",
        stats.count,
        time(stats.last),
        time(stats.p50),
        time(stats.longest)
    )
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    #[test]
    fn changes_are_marked_where_they_were_made() {
        let begin = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let calls = v1::CallStats { calls_per_second: 12.0, attempt_error_bp: Some(250), ..Default::default() };
        let revision = |revision| v1::Revision { epoch: 1, revision };
        let points = [
            v1::HistoryPoint { begin_time: begin(1_000), calls: Some(calls), revisions: Vec::new() },
            v1::HistoryPoint { begin_time: begin(1_010), calls: None, revisions: vec![revision(7), revision(8)] },
        ];
        let mut out = Vec::new();
        history(&points).print(&mut out, Style::new(false, false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<_>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["1970-01-01T00:16:40Z", "12", "2.5", "-", "-", "-", "-"]);
        assert_eq!(rows[1], ["1970-01-01T00:16:50Z", "-", "-", "-", "-", "-", "7,", "8"]);
    }

    #[test]
    fn figures_stand_below_each_other() {
        let stats = v1::IsolationStats {
            total_services: 3,
            basic_isolation: 1,
            enhanced_isolation: 2,
            calls: Some(v1::CallStats {
                counters: Some(v1::CallCounters { calls: 300, attempts: 310, breaker_opened: 1, ..Default::default() }),
                calls_per_second: 1.0,
                attempts_per_second: 41.0,
                error_bp: Some(120),
                rejected: [("open".to_owned(), 7)].into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = v1::GetIsolationStatsResponse { stats: Some(stats), ..Default::default() };
        let mut out = Vec::new();
        table(window("5m").unwrap(), &answer).print(&mut out, Style::new(false, false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "services                     3 (1 basic, 2 enhanced)",
            "window                       last 5m",
            "calls                        300 (1.0/s)",
            "calls that failed            1.2%",
            "attempts                     310 (41/s)",
            "call latency                 -",
            "rejected                     7 open",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
    }
}
