//! The table at the end: two lines for each phase, one for each group.

use super::figures;
use super::measure::{Group, Phase, Purpose, Scene};
use super::script::STEPS;
use std::fmt::Write as _;

/// The table of some phases. Those between two steps, or in which no call ended, are left out.
pub(crate) fn table(phases: &[Phase]) -> String {
    let mut text = String::from(
        "step      level     upstream   callers      answered      p50      p99  calls/s  peak  served by\n",
    );
    for phase in phases.iter().filter(|phase| phase.whole.protected.calls() > 0) {
        let Scene { level, fault, purpose } = phase.scene;
        let step = match purpose {
            Purpose::Step(step) => STEPS.get(step).map_or("", |step| step.title),
            Purpose::ByHand => "by hand",
            Purpose::Changing => continue,
        };
        let heads = [format!("{step:8}  {level:8}  {fault:8}"), format!("  {}", phase.breakers)];
        for (head, group) in heads.into_iter().zip(Group::ALL) {
            let tally = phase.whole.of(group);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{head:29}  {callers:11}  {answered:>8}  {p50:>7}  {p99:>7}  {load:>7.1}  {peak:>4}  {served}",
                callers = group.name(),
                answered = figures::percent(tally.answered_percent()),
                p50 = figures::latency(tally.latency.quantile(0.5)),
                p99 = figures::latency(tally.latency.quantile(0.99)),
                load = phase.load(group),
                peak = tally.peak_in_flight,
                served = figures::shares(tally),
            );
        }
    }
    text.push_str(
        "below the step: the breakers of the protected callers at its end\n\
         calls/s and peak: what reached the upstream, retries included, and how many calls it had in hand at once\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::measure::{Pair, Served, Tally};
    use super::super::upstream::Fault;
    use super::*;
    use cofferdam_core::level::Level;
    use std::time::Duration;

    #[test]
    fn each_phase_has_a_line_for_each_group() {
        let mut protected = Tally::default();
        (protected.arrivals, protected.peak_in_flight) = (4, 2);
        (0..50).for_each(|_| protected.count(Served::Static, Duration::from_micros(300)));
        let mut unprotected = Tally::default();
        (unprotected.arrivals, unprotected.peak_in_flight) = (384, 5);
        (0..50).for_each(|_| unprotected.count(Served::Nobody, Duration::from_millis(21)));
        let phase = |purpose| Phase {
            scene: Scene { level: Level::Enhanced, fault: Fault::Broken, purpose },
            duration: Duration::from_secs(2),
            whole: Pair { unprotected: unprotected.clone(), protected: protected.clone() },
            late: Pair::default(),
            breakers: "open 4 of 4".into(),
        };
        let empty = Phase { whole: Pair::default(), ..phase(Purpose::ByHand) };

        let table = table(&[phase(Purpose::Step(3)), phase(Purpose::Changing), empty, phase(Purpose::ByHand)]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[1..4],
            [
                "enhanced  enhanced  broken     unprotected     0.0 %    22 ms    22 ms    192.0     5  failed 100 %",
                "  open 4 of 4                  protected     100.0 %  0.30 ms  0.30 ms      2.0     2  static 100 %",
                "by hand   enhanced  broken     unprotected     0.0 %    22 ms    22 ms    192.0     5  failed 100 %",
            ]
        );
        assert_eq!(lines.len(), 7);
    }
}
