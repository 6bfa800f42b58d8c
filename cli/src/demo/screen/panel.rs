use super::super::board::Board;
use super::super::callers::NAIVE_RETRIES;
use super::super::figures;
use super::super::measure::{Group, Meter, Pair, Served, Tally, per_second};
use super::super::upstream::Fault;
use super::{Palette, dim};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Sparkline};
use std::time::Duration;

/// Rows of a panel, with its border.
pub(crate) const HEIGHT: u16 = 14;

/// Ticks that the live figures tell of: two seconds.
const TICKS: usize = 8;

/// One group's panel.
pub(crate) fn draw(frame: &mut Frame<'_>, area: Rect, group: Group, board: &Board, meter: &Meter, palette: Palette) {
    let title = match group {
        Group::Unprotected => format!(" unprotected: {NAIVE_RETRIES} retries at once "),
        Group::Protected => " protected: the SDK ".to_owned(),
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(dim())
        .title(Span::styled(title, Style::new().add_modifier(Modifier::BOLD)));
    let inner = block.inner(area);
    frame.render_widget(block, area);

    let [figures, answered_title, answered, load_title, load] = Layout::vertical([
        Constraint::Length(6),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(inner);
    let (recent, time) = meter.recent(TICKS);
    let lines = Lines { group, board, tally: recent.of(group), time, palette };
    for (line, area) in lines.all().into_iter().zip(figures.rows()) {
        frame.render_widget(line, area);
    }
    let seconds = meter.seconds();
    frame.render_widget(Line::styled("answered, 30 s", dim()), answered_title);
    spark(frame, answered, answered_bars(&seconds, group), 100, palette.of(Color::Green));
    let loads = Group::ALL.map(|group| load_bars(&seconds, group));
    let highest = loads.iter().flatten().copied().flatten().max().unwrap_or_default().max(1);
    frame.render_widget(Line::styled(format!("calls/s upstream, to {highest}"), dim()), load_title);
    let [unprotected, protected] = loads;
    let own = if group == Group::Protected { protected } else { unprotected };
    spark(frame, load, own, highest, palette.of(Color::Blue));
}

/// The colour of a fault.
pub(crate) fn fault_style(fault: Fault, palette: Palette) -> Style {
    palette.of(match fault {
        Fault::Healthy => Color::Green,
        Fault::Flaky | Fault::Slow => Color::Yellow,
        Fault::Broken => Color::Red,
    })
}

/// The figures of a panel.
struct Lines<'a> {
    group: Group,
    board: &'a Board,
    tally: &'a Tally,
    time: Duration,
    palette: Palette,
}

impl Lines<'_> {
    fn all(&self) -> [Line<'static>; 6] {
        let p50 = figures::latency(self.tally.latency.quantile(0.5));
        let p99 = figures::latency(self.tally.latency.quantile(0.99));
        [
            line("answered", figures::percent(self.tally.answered_percent()), self.answered_style()),
            line("latency", format!("p50 {p50}  p99 {p99}"), Style::new()),
            line("upstream", format!("{:.0} calls/s", per_second(self.tally.arrivals, self.time)), Style::new()),
            line("in flight", format!("{} at most", self.tally.peak_in_flight), Style::new()),
            line("breaker", self.breaker(), self.breaker_style()),
            line("served by", figures::shares(self.tally), Style::new()),
        ]
    }

    fn answered_style(&self) -> Style {
        let failed = self.tally.percent(Served::Nobody).unwrap_or_default();
        let color = if failed > 50.0 {
            Color::Red
        } else if failed > 1.0 {
            Color::Yellow
        } else {
            Color::Green
        };
        self.palette.of(color).add_modifier(Modifier::BOLD)
    }

    fn breaker(&self) -> String {
        match self.group {
            Group::Unprotected => "none".to_owned(),
            Group::Protected => self.board.breakers.to_string(),
        }
    }

    fn breaker_style(&self) -> Style {
        let breakers = self.board.breakers;
        match self.group {
            Group::Protected if breakers.open > 0 => self.palette.of(Color::Red),
            Group::Protected if breakers.half_open > 0 => self.palette.of(Color::Yellow),
            Group::Protected if breakers.closed > 0 => self.palette.of(Color::Green),
            Group::Unprotected | Group::Protected => dim(),
        }
    }
}

fn line(name: &str, value: String, style: Style) -> Line<'static> {
    Line::from_iter([Span::styled(format!("{name:10}"), dim()), Span::styled(value, style)])
}

type Seconds = [(Pair<Tally>, Duration)];

/// The share of answered calls in each second, in percent; `None` where no call ended.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 100")]
fn answered_bars(seconds: &Seconds, group: Group) -> Vec<Option<u64>> {
    let answered = |(pair, _): &(Pair<Tally>, Duration)| pair.of(group).answered_percent();
    seconds.iter().map(|second| answered(second).map(|percent| percent as u64)).collect()
}

/// Calls that reached the upstream in each second.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is small and not negative")]
fn load_bars(seconds: &Seconds, group: Group) -> Vec<Option<u64>> {
    let rate = |(pair, time): &(Pair<Tally>, Duration)| per_second(pair.of(group).arrivals, *time);
    seconds.iter().map(|second| Some(rate(second).round() as u64)).collect()
}

/// The newest bars that find room, the newest at the right.
fn spark(frame: &mut Frame<'_>, area: Rect, bars: Vec<Option<u64>>, highest: u64, style: Style) {
    let room = usize::from(area.width);
    let missing = room.saturating_sub(bars.len());
    let newest = bars.into_iter().rev().take(room).rev();
    let bars = std::iter::repeat_n(None, missing).chain(newest);
    frame.render_widget(Sparkline::default().data(bars.collect::<Vec<_>>()).max(highest).style(style), area);
}
