//! A service as a line of a table.

use super::super::super::ordered;
use super::{breaker, fallbacks, health, level, revision};
use crate::message::short_name;
use crate::output::{Cell, Tone, basis_points, length, rate, std_duration};
use cofferdam_proto::v1;
use std::time::Duration;

/// What a line shows of a service.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    level: String,
    preset: String,
    version: String,
    revision: Cell,
    health: v1::HealthStatus,
    breaker: v1::BreakerState,
    holds: Vec<v1::Hold>,
}

impl Shown {
    /// Of a service, and of what there is of its containment.
    pub(super) fn of(isolated: v1::IsolatedService, containment: Option<&v1::Containment>) -> Self {
        Self {
            level: level(&isolated),
            health: isolated.health.as_ref().map_or(v1::HealthStatus::Unspecified, v1::ServiceHealth::status),
            breaker: isolated.breaker_state(),
            revision: revision(isolated.revision, containment),
            preset: isolated.written_policy.map(|policy| policy.preset).unwrap_or_default(),
            version: isolated.service.map(|service| service.version).unwrap_or_default(),
            holds: isolated.holds,
        }
    }
}

/// What a line shows of what happened to a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    instances: u32,
    open_instances: u32,
    applied_instances: u32,
    refused_instances: u32,
    silent_instances: u32,
    calls_per_second: Option<f64>,
    error_bp: Option<u32>,
    attempt_error_bp: Option<u32>,
    fallback_bp: Option<u32>,
    p99: Option<Duration>,
}

impl Figures {
    /// Of a service's figures.
    pub(super) fn of(stats: &v1::ServiceStats) -> Self {
        let calls = stats.calls.as_ref();
        Self {
            instances: stats.instances,
            open_instances: stats.open_instances,
            applied_instances: stats.applied_instances,
            refused_instances: stats.refused_instances,
            silent_instances: stats.silent_instances,
            calls_per_second: calls.map(|calls| calls.calls_per_second),
            error_bp: calls.and_then(|calls| calls.error_bp),
            attempt_error_bp: calls.and_then(|calls| calls.attempt_error_bp),
            fallback_bp: fallbacks(calls),
            p99: calls.and_then(|calls| std_duration(calls.call_latency.as_ref()?.p99)),
        }
    }
}

/// Its cells.
pub(super) fn row(name: &str, shown: &Shown, figures: &Figures) -> Vec<Cell> {
    vec![
        name.into(),
        shown.level.as_str().into(),
        health(shown.health),
        held(state(shown.breaker, figures), &shown.holds),
        basis_points(figures.attempt_error_bp).into(),
        length(figures.p99).into(),
        basis_points(figures.fallback_bp).into(),
        figures.instances.to_string().into(),
        sync(figures),
        shown.revision.clone(),
    ]
}

/// Those that a wide table adds.
pub(super) fn wide(shown: Shown, figures: &Figures) -> [Cell; 4] {
    [
        figures.calls_per_second.map_or_else(String::new, rate).into(),
        basis_points(figures.error_bp).into(),
        shown.preset.into(),
        shown.version.into(),
    ]
}

/// The least good state, and at how many instances a breaker is not closed.
fn state(state: v1::BreakerState, figures: &Figures) -> Cell {
    let name = short_name(state.as_str_name(), "BREAKER_STATE_");
    match state {
        // It is that of a manager, which calls services for those who ask it to.
        state if figures.open_instances == 0 => breaker(state),
        v1::BreakerState::Open => {
            Cell::toned(format!("{name} {}/{}", figures.open_instances, figures.instances), Tone::Bad)
        }
        v1::BreakerState::HalfOpen => {
            Cell::toned(format!("{name} {}/{}", figures.open_instances, figures.instances), Tone::Warn)
        }
        state => breaker(state),
    }
}

/// A state with what operators hold breakers in: `open 3/4, held open`.
fn held(state: Cell, holds: &[v1::Hold]) -> Cell {
    let Some(hold) = ordered::weightiest(holds) else { return state };
    let tone = if ordered::rejects(hold) { Tone::Bad } else { Tone::Warn };
    let before = if state.text().is_empty() { String::new() } else { format!("{}, ", state.text()) };
    Cell::toned(before + &ordered::held(hold), tone)
}

/// How many instances have the present policy in force, of how many, and why the others have not.
fn sync(figures: &Figures) -> Cell {
    let &Figures { applied_instances: applied, refused_instances: refused, silent_instances: silent, .. } = figures;
    // As `check` and `wait` count: who has fallen silent may go on with an older policy.
    let instances = figures.instances.saturating_add(silent);
    let mut text = format!("{applied}/{instances}");
    for (count, what) in [(refused, "refused"), (silent, "silent")] {
        if count > 0 {
            text.push_str(&format!(" {what} {count}"));
        }
    }
    match instances {
        0 => Cell::default(),
        _ if refused > 0 => Cell::toned(text, Tone::Bad),
        _ if applied >= instances => Cell::toned(text, Tone::Good),
        _ => Cell::toned(text, Tone::Warn),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{COLUMNS, YIELDING};
    use super::*;
    use crate::output::{Style, Table};

    fn printed(rows: &[Vec<Cell>], room: Option<usize>) -> String {
        let mut table = Table::new(COLUMNS).yielding(YIELDING);
        rows.iter().for_each(|row| table.push(row.clone()));
        let mut out = Vec::new();
        table.print_within(&mut out, Style::new(false, false), room).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_service_is_a_line_that_says_how_it_does() {
        let isolated = v1::IsolatedService {
            policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Enhanced.into(), ..Default::default() }),
            health: Some(v1::ServiceHealth { status: v1::HealthStatus::CircuitOpen.into(), ..Default::default() }),
            breaker_state: v1::BreakerState::Open.into(),
            revision: Some(v1::Revision { epoch: 1, revision: 19 }),
            ..Default::default()
        };
        let served = v1::ServedShares { live_bp: 1_200, cached_bp: 3_000, static_bp: 5_800, ..Default::default() };
        let p99 = prost_types::Duration { seconds: 2, nanos: 100_000_000 };
        let stats = v1::ServiceStats {
            instances: 4,
            open_instances: 3,
            applied_instances: 4,
            calls: Some(v1::CallStats {
                attempt_error_bp: Some(6_120),
                served: Some(served),
                call_latency: Some(v1::LatencyStats { count: 9, p99: Some(p99), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let figures = Figures::of(&stats);
        let hold = v1::Hold { forced: v1::ForcedState::Open.into(), ..Default::default() };
        let part = v1::BreakerTarget { pool: "reads".into(), ..Default::default() };
        let part = v1::Hold { target: Some(part), forced: v1::ForcedState::Closed.into(), ..Default::default() };
        let none = v1::IsolatedService { breaker_state: 0, ..isolated.clone() };
        assert_eq!(held(state(none.breaker_state(), &figures), &none.holds), Cell::default());
        let (whole, part) = (
            v1::IsolatedService { holds: vec![part.clone(), hold], ..none },
            v1::IsolatedService { holds: vec![part], ..isolated.clone() },
        );
        assert_eq!(held(state(whole.breaker_state(), &figures), &whole.holds).text(), "held open");
        assert_eq!(held(state(part.breaker_state(), &figures), &part.holds).text(), "open 3/4, partly held closed");
        let trial = v1::IsolatedService { temporary_level: Some(v1::TemporaryLevel::default()), ..isolated.clone() };
        let refused = v1::ServiceStats { refused_instances: 1, applied_instances: 3, ..stats.clone() };
        // Who has fallen silent counts, as it does for those who wait.
        let silent = v1::ServiceStats { silent_instances: 1, ..stats };
        let idle = v1::IsolatedService { breaker_state: 0, health: None, ..isolated.clone() };
        let rows = [
            row("stripe", &Shown::of(isolated.clone(), None), &figures),
            row("s3", &Shown::of(trial, None), &Figures::of(&refused)),
            row("s4", &Shown::of(isolated, None), &Figures::of(&silent)),
            row("idle", &Shown::of(idle, None), &Figures::default()),
        ];
        assert_eq!(
            printed(&rows, None),
            "\
NAME     LEVEL       HEALTH         STATE      ERR%   P99    FALLBACK%   CLIENTS   SYNC            REV
stripe   enhanced    circuit-open   open 3/4   61.2   2.1s   88.0        4         4/4             19
s3       enhanced*   circuit-open   open 3/4   61.2   2.1s   88.0        4         3/4 refused 1   19
s4       enhanced    circuit-open   open 3/4   61.2   2.1s   88.0        4         4/5 silent 1    19
idle     enhanced    -              -          -      -      -           0         -               19
"
        );
        // Before, lines of more than 80 columns were broken by the terminal.
        assert_eq!(
            printed(&rows, Some(80)),
            "\
NAME     LEVEL       HEALTH         STATE      ERR%   P99    SYNC            REV
stripe   enhanced    circuit-open   open 3/4   61.2   2.1s   4/4             19
s3       enhanced*   circuit-open   open 3/4   61.2   2.1s   3/4 refused 1   19
s4       enhanced    circuit-open   open 3/4   61.2   2.1s   4/5 silent 1    19
idle     enhanced    -              -          -      -      -               19
"
        );
    }
}
