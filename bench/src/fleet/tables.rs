//! The tables, as docs/performance.md has them.

use super::changes::Figures;
use super::operate::{Done, INSTANCES, MEASURED};
use super::storm::Storm;
use super::stuck::{HEALTHY, STUCK, Stuck};
use super::subjects::{SERVICES, Start};
use super::writes;
use crate::conditions::Conditions;
use crate::report::{BUSY, line};
use std::fmt::Write as _;
use std::time::Duration;

/// One who was measured, with so many streams.
pub struct Row {
    pub name: String,
    pub figures: Figures,
}

/// The value below which so large a part of all lies; zero where there is none.
pub fn percentile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let index = ((sorted.len() as f64 * part).ceil() as usize).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Under what conditions it was measured.
pub fn conditions(before: &Conditions, after: &Conditions) -> String {
    let Conditions { date, commit, rustc, cpu, cores, system, load } = before;
    let mut text = format!("{date}, commit {commit}; {rustc}; {cpu}; {cores} cores; {system}. ");
    let _ = write!(text, "Load average {load:.2} before; what it was after is mostly our own: {:.2}.\n\n", after.load);
    if *load > BUSY {
        text += "**The machine was busy: the times are doubtful.** Processor time suffers less.\n\n";
    }
    text
}

/// What a change costs; the first row is the floor.
pub fn changes(streams: usize, rows: &[Row]) -> String {
    let mut text = format!("### One change to {streams} streams\n\n");
    text += &line(&cells([
        "",
        "processor µs per stream",
        "times the floor",
        "KiB per idle stream",
        "a stream has it: p50 ms",
        "p99",
        "max",
        "all confirmed: p50 ms",
        "max",
    ]));
    text += "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    let floor = rows.first().map_or(f64::NAN, |row| median(&row.figures.cpu));
    for Row { name, figures } in rows {
        let cpu = median(&figures.cpu);
        let optional = |is_there: bool, value: String| if is_there { value } else { String::new() };
        let confirmed = |part| optional(!figures.confirmed.is_empty(), millis(percentile(&figures.confirmed, part)));
        text += &line(&[
            name.clone(),
            format!("{cpu:.1}"),
            format!("{:.1}", cpu / floor),
            optional(!figures.memory.is_empty(), format!("{:.1}", median(&figures.memory))),
            millis(percentile(&figures.each, 0.5)),
            millis(percentile(&figures.each, 0.99)),
            millis(percentile(&figures.each, 1.0)),
            confirmed(0.5),
            confirmed(1.0),
        ]);
    }
    text + "\n"
}

/// What came of a storm and of those who are stuck.
pub fn troubles(storm: &Storm, stuck: &Stuck) -> String {
    let Storm { instances, lost, refused, away, newest_everywhere, mean_rate, peak_rate } = storm;
    let mut text = format!("### {instances} instances lose their manager\n\n");
    text += "| | |\n|---|--:|\n";
    let mut row = |name: &str, value: String| text += &line(&[name.to_owned(), value]);
    row("from `kill -9` until the manager served again, ms", millis(*away));
    row("from then until all had the newest policy, ms", millis(*newest_everywhere));
    row("instances lost", lost.to_string());
    row("attempts that failed", refused.to_string());
    row("instances taken in per second, at the mean", format!("{mean_rate:.0}"));
    row("in the busiest tenth of the time", format!("{peak_rate:.0}"));
    row("busiest : mean", format!("{:.2}", peak_rate / mean_rate));

    let Stuck { without, with, memory, seen, cut_off_after } = stuck;
    let _ = write!(text, "\n### {STUCK} of {} instances stop reading\n\n", STUCK + HEALTHY);
    text += "| | |\n|---|--:|\n";
    let mut row = |name: &str, value: String| text += &line(&[name.to_owned(), value]);
    row("instances that were stuck, as the manager saw it", seen.to_string());
    row("the others' p99 without them, ms", millis(*without));
    row("with them, ms", millis(*with));
    row("with : without", format!("{:.2}", with.as_secs_f64() / without.as_secs_f64()));
    row("KiB of the manager's memory for each of them", format!("{memory:.1}"));
    row("until it had hung up on all of them, s", format!("{:.1}", cut_off_after.as_secs_f64()));
    text
}

/// What writes came to; the first row is what the others are compared with.
pub fn writes(title: &str, rows: &[(&str, writes::Figures)]) -> String {
    let mut text = format!("### {title}\n\n");
    text += &line(&cells(["", "writes/s", ": bare put", "p50 ms", "p99 ms", "manager's processor µs per write"]));
    text += "|---|--:|--:|--:|--:|--:|\n";
    let bare = rows.first().map_or(f64::NAN, |(_, figures)| median(&figures.rates));
    for (name, figures) in rows {
        let rate = median(&figures.rates);
        let cpu = median(&figures.cpu);
        text += &line(&[
            (*name).to_owned(),
            format!("{rate:.0}"),
            format!("{:.2}", rate / bare),
            fine_millis(percentile(&figures.each, 0.5)),
            fine_millis(percentile(&figures.each, 0.99)),
            if cpu.is_nan() { String::new() } else { format!("{cpu:.1}") },
        ]);
    }
    text + "\n"
}

/// What it takes to start with so many services.
pub fn starts(services: u64, rows: &[(&str, Start)]) -> String {
    let mut text = format!("### A manager with {services} services starts\n\n");
    text += &line(&cells(["", "until it has answered, ms", "memory, MiB", "KiB per service"]));
    text += "|---|--:|--:|--:|\n";
    for (name, Start { time, memory }) in rows {
        let each = memory / services as f64;
        text += &line(&[(*name).to_owned(), millis(*time), format!("{:.1}", memory / 1024.0), format!("{each:.1}")]);
    }
    text
}

/// What an operator waits for.
pub fn operations(all: &[Done]) -> String {
    let mut text = format!(
        "### What an operator waits for\n\nCommands with {SERVICES} services, metrics of {MEASURED}, a rollback until \
         {INSTANCES} instances have acknowledged it.\n\n"
    );
    text += &line(&cells(["", "p50 ms", "max ms", "times", "the manager grew, KiB"]));
    text += "|---|--:|--:|--:|--:|\n";
    for Done { name, times, growth } in all {
        let (half, most) = (millis(percentile(times, 0.5)), millis(percentile(times, 1.0)));
        text += &line(&[name.clone(), half, most, times.len().to_string(), format!("{growth:.0}")]);
    }
    text
}

fn fine_millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

fn cells<const N: usize>(cells: [&str; N]) -> [String; N] {
    cells.map(str::to_owned)
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_values() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        for (part, expected) in [(0.5, 50), (0.99, 99), (1.0, 100)] {
            assert_eq!(percentile(&times, part), Duration::from_millis(expected));
        }
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
