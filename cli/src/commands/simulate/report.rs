//! What came of a simulation, in words for people and as a document for programs.

mod document;

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
    Rejected(Obstacle),
    /// It was kept from the service, and a fallback answered.
    StoodIn(Obstacle),
}

/// What kept a call from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Open,
    ForcedOpen,
    Bulkhead,
    AdaptiveLimit,
    RateLimit,
    Deadline,
    Disabled,
}

impl Obstacle {
    /// For people.
    const fn words(self) -> &'static str {
        match self {
            Self::Open => "the breaker is open",
            Self::ForcedOpen => "the policy forces the breaker open",
            Self::Bulkhead => "the bulkhead is full",
            Self::AdaptiveLimit => "the adaptive limit is reached",
            Self::RateLimit => "the rate limit is reached",
            Self::Deadline => "too little time was left",
            Self::Disabled => "the service is disabled",
        }
    }

    /// For programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ForcedOpen => "forced_open",
            Self::Bulkhead => "bulkhead",
            Self::AdaptiveLimit => "adaptive_limit",
            Self::RateLimit => "rate_limit",
            Self::Deadline => "deadline",
            Self::Disabled => "disabled",
        }
    }
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
        why: Obstacle,
        /// Whether a fallback answered.
        has_answer: bool,
    },
}

/// Something that is told.
enum Happening<'a> {
    /// A breaker changed its state.
    Moved(Duration, &'a Part, &'a Transition),
    /// Calls were kept from the service.
    Rejected(Rejections),
}

/// Calls that were kept from the service one after the other, by the same.
struct Rejections {
    first: Duration,
    last: Duration,
    calls: usize,
    /// Those of them that a fallback answered.
    answered: usize,
    why: Obstacle,
}

impl Rejections {
    fn of(entries: &[Entry], first: Duration, why: Obstacle) -> Self {
        let has_answer = |entry: &&Entry| matches!(entry.what, What::Rejected { has_answer: true, .. });
        let last = entries.last().map_or(first, |entry| entry.at);
        Self { first, last, calls: entries.len(), answered: entries.iter().filter(has_answer).count(), why }
    }
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

    /// What happened in its order: transitions one by one, rejections of one kind that follow each other together.
    fn happenings(&self) -> Vec<Happening<'_>> {
        let mut found = Vec::new();
        let mut rest = self.entries.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let (happening, more) = match &first.what {
                What::Moved(part, transition) => (Happening::Moved(first.at, part, transition), after),
                What::Rejected { why, .. } => {
                    let is_same = |entry: &Entry| matches!(&entry.what, What::Rejected { why: own, .. } if own == why);
                    let (same, more) = rest.split_at(rest.iter().take_while(|entry| is_same(entry)).count());
                    (Happening::Rejected(Rejections::of(same, first.at, *why)), more)
                }
            };
            found.push(happening);
            rest = more;
        }
        found
    }

    /// Tells what happened, for people.
    pub(super) fn tell(&self, limit: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let line = |happening: Happening<'_>| match happening {
            Happening::Moved(at, part, transition) => moved(at, part, transition, style),
            Happening::Rejected(rejections) => rejected(&rejections, style),
        };
        let lines: Vec<_> = self.happenings().into_iter().map(line).collect();
        lines.iter().take(limit).try_for_each(|line| writeln!(out, "{line}"))?;
        if lines.len() > limit {
            writeln!(out, "and {} more (--limit)", lines.len() - limit)?;
        }
        if lines.is_empty() {
            writeln!(out, "no breaker moved, and no call was rejected")?;
        }
        writeln!(out)
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

fn rejected(rejections: &Rejections, style: Style) -> String {
    let Rejections { first, last, calls, answered, why } = rejections;
    let calls = if *calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
    let until = if last > first { format!(" until {}", time(*last).trim_start()) } else { String::new() };
    let stood_in = if *answered == 0 { String::new() } else { format!(", {answered} answered by a fallback") };
    format!("{}  {} rejected{until}: {}{stood_in}", time(*first), style.paint(Tone::Warn, &calls), why.words())
}

fn time(at: Duration) -> String {
    format!("{:>10.3}s", at.as_secs_f64())
}
