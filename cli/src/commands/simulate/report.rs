//! What came of a simulation, in words.

use crate::output::{Style, Table, Tone, length};
use cofferdam_core::breaker::{State, Transition};
use cofferdam_core::isolation::Part;
use cofferdam_core::latency::LatencySnapshot;
use cofferdam_core::stats::CounterSnapshot;
use std::io::{self, Write};
use std::time::Duration;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer, of the service or of what stood in for it after it had failed.
    Answered,
    /// With an error of the service, or for want of time.
    Failed,
    /// It was kept from the service, and nobody answered.
    Rejected(&'static str),
    /// It was kept from the service, and a fallback answered.
    StoodIn(&'static str),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// When, from the beginning.
    pub(super) at: Duration,
    /// What.
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A breaker changed its state.
    Moved(Part, Transition),
    /// A call was kept from the service.
    Rejected {
        /// By what.
        why: &'static str,
        /// Whether a fallback answered.
        has_answer: bool,
    },
}

/// What came of it all.
#[derive(Clone, Debug)]
pub(super) struct Report {
    entries: Vec<Entry>,
    counters: CounterSnapshot,
    latency: LatencySnapshot,
    took: Duration,
}

impl Report {
    pub(super) fn new(
        entries: Vec<Entry>,
        counters: CounterSnapshot,
        latency: LatencySnapshot,
        took: Duration,
    ) -> Self {
        Self { entries, counters, latency, took }
    }

    /// Tells what happened in its order: transitions one by one, rejections of one kind that follow each other together.
    pub(super) fn tell(&self, limit: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut rest = self.entries.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let (line, more) = match &first.what {
                What::Moved(part, transition) => (moved(first.at, part, transition, style), after),
                What::Rejected { why, .. } => {
                    let is_same = |entry: &Entry| matches!(&entry.what, What::Rejected { why: own, .. } if own == why);
                    let count = rest.iter().take_while(|entry| is_same(entry)).count();
                    (rejected(&rest[..count], why, style), &rest[count..])
                }
            };
            lines.push(line);
            rest = more;
        }
        lines.iter().take(limit).try_for_each(|line| writeln!(out, "{line}"))?;
        if lines.len() > limit {
            writeln!(out, "and {} more (--limit)", lines.len() - limit)?;
        }
        if lines.is_empty() { writeln!(out, "no breaker moved, and no call was rejected\n") } else { writeln!(out) }
    }

    /// The sums.
    pub(super) fn totals(&self) -> Table {
        let mut table = Table::new(["FIGURE", "VALUE"]);
        self.figures().into_iter().for_each(|(name, value)| table.push(vec![name.into(), value.into()]));
        table
    }

    /// The sums of two beside each other.
    pub(super) fn compare((one, first): (&str, &Self), (other, second): (&str, &Self)) -> Table {
        let mut table = Table::new(["FIGURE", "FIRST", "SECOND"]);
        table.push(vec!["policy".into(), one.into(), other.into()]);
        for ((name, value), (_, against)) in first.figures().into_iter().zip(second.figures()) {
            table.push(vec![name.into(), value.into(), against.into()]);
        }
        table
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let counters = &self.counters;
        let share = |part: u64| match counters.calls {
            0 => part.to_string(),
            calls => format!("{part} ({:.1}%)", part as f64 * 100.0 / calls as f64),
        };
        let fallbacks =
            counters.served_cached + counters.served_static + counters.served_alternative + counters.served_degraded;
        let quantile = |share| length(self.latency.quantile(share));
        let rejected = [
            ("open", counters.rejected_open),
            ("bulkhead", counters.rejected_bulkhead),
            ("adaptive limit", counters.rejected_adaptive_limit),
            ("rate limit", counters.rejected_rate_limit),
            ("deadline", counters.rejected_deadline),
            ("disabled", counters.rejected_disabled),
        ];
        let rejected = rejected.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}"));
        vec![
            ("time", format!("{}s", self.took.as_secs_f64())),
            ("calls", counters.calls.to_string()),
            ("answered by the service", share(counters.served_live)),
            ("answered by a fallback", share(fallbacks)),
            ("failed", share(counters.failed)),
            ("attempts", counters.attempts.to_string()),
            ("retries", counters.retries.to_string()),
            ("retries refused by the budget", counters.retries_refused.to_string()),
            ("hedges", counters.hedges.to_string()),
            ("timeouts", counters.timeouts.to_string()),
            ("rejected", rejected.collect::<Vec<_>>().join(", ")),
            ("breakers opened", counters.breaker_opened.to_string()),
            ("call latency", format!("p50 {}, p90 {}, p99 {}", quantile(0.5), quantile(0.9), quantile(0.99))),
        ]
    }
}

/// `12.300s  service: closed -> open, consecutive_failures`.
fn moved(at: Duration, part: &Part, transition: &Transition, style: Style) -> String {
    let name = |state| match state {
        State::Closed => style.paint(Tone::Good, "closed"),
        State::Open => style.paint(Tone::Bad, "open"),
        State::HalfOpen => style.paint(Tone::Warn, "half-open"),
    };
    let (from, to) = (name(transition.from), name(transition.to));
    let felt = if transition.is_enforced { "" } else { " (metrics only)" };
    format!("{}  breaker of {part}: {from} -> {to}, {}{felt}", time(at), transition.cause)
}

fn rejected(entries: &[Entry], why: &str, style: Style) -> String {
    let answered = entries.iter().filter(|entry| matches!(entry.what, What::Rejected { has_answer: true, .. })).count();
    let calls = if entries.len() == 1 { "1 call".to_owned() } else { format!("{} calls", entries.len()) };
    let first = entries.first().map(|entry| entry.at).unwrap_or_default();
    let until = match entries.last() {
        Some(last) if last.at > first => format!(" until {}", time(last.at).trim_start()),
        _ => String::new(),
    };
    let stood_in = if answered == 0 { String::new() } else { format!(", {answered} answered by a fallback") };
    format!("{}  {} rejected{until}: {why}{stood_in}", time(first), style.paint(Tone::Warn, &calls))
}

fn time(at: Duration) -> String {
    format!("{:>10.3}s", at.as_secs_f64())
}
