//! The demo on a terminal: two panels side by side, drawn ten times a second from the board and the meter.
//!
//! It fits 80 x 24 and takes what more there is. Colours are the terminal's own; with `NO_COLOR` there are none, and
//! nothing depends on them. The terminal is given back whatever happens: ratatui's hook does it on a panic, [`Screen`]
//! when it is dropped.

mod keys;
mod panel;

use super::board::Board;
use super::commands;
use super::director::Key;
use super::measure::{Group, Meter};
use super::script::STEPS;
use crate::keyboard::Keyboard;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use ratatui::{DefaultTerminal, Frame};
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often it is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// Columns and rows that it cannot do without.
const SMALLEST: (u16, u16) = (76, panel::HEIGHT + 9);

const KEYS: &str = "0-3 level  b break  s slow  f flaky  h heal  p pause  q quit";

/// Whether colours may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    is_coloured: bool,
}

/// The terminal while the demo has it.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
    _keyboard: Keyboard,
}

impl Palette {
    /// Colours, unless the user wants none.
    pub(crate) const fn new(no_color: bool) -> Self {
        Self { is_coloured: !no_color }
    }

    fn of(self, color: Color) -> Style {
        if self.is_coloured { Style::new().fg(color) } else { Style::new() }
    }
}

impl Screen {
    /// Takes the terminal; keys go to the director.
    ///
    /// # Errors
    ///
    /// The terminal cannot be set up.
    pub(crate) fn open(keys: mpsc::Sender<Key>, palette: Palette) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        match Keyboard::listen(keys, keys::meaning) {
            Ok(keyboard) => Ok(Self { terminal, palette, _keyboard: keyboard }),
            Err(error) => {
                ratatui::restore();
                Err(error)
            }
        }
    }

    /// Draws until the board's owner is done.
    ///
    /// # Errors
    ///
    /// The terminal cannot be written to.
    pub(crate) async fn show(&mut self, boards: watch::Receiver<Board>, meter: &Meter) -> io::Result<()> {
        let mut frames = tokio::time::interval(FRAME);
        while boards.has_changed().is_ok() {
            frames.tick().await;
            let board = boards.borrow().clone();
            self.terminal.draw(|frame| draw(frame, &board, meter, self.palette))?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn draw(frame: &mut Frame<'_>, board: &Board, meter: &Meter, palette: Palette) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return draw_too_small(frame, area);
    }
    let [title, steps, panels, note, _, command, result, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(panel::HEIGHT),
        Constraint::Length(2),
        Constraint::Max(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(frame, title, board, palette);
    frame.render_widget(Line::from_iter(breadcrumbs(board, palette)), steps);
    let halves: [Rect; 2] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(panels);
    for (group, area) in Group::ALL.into_iter().zip(halves) {
        panel::draw(frame, area, group, board, meter, palette);
    }
    frame.render_widget(Paragraph::new(board.note()), note);
    let folded = format!("$ {}", commands::folded(&board.command));
    frame.render_widget(Paragraph::new(folded), command);
    frame.render_widget(Line::styled(format!("  {}", board.result), palette.of(Color::Green)), result);
    frame.render_widget(Line::styled(KEYS, dim()), keys);
}

/// Parts of the picture would mislead: it is asked for room instead, and goes on when it has it.
fn draw_too_small(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = SMALLEST;
    let text = format!(
        "The demo needs {width} x {height} characters and has {} x {}: enlarge the window, or press q and run it with --plain.",
        area.width, area.height
    );
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, board: &Board, palette: Palette) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let left = Line::from_iter([
        Span::styled("cofferdam", bold),
        Span::raw("  level "),
        Span::styled(board.level.name(), palette.of(Color::Cyan).patch(bold)),
        Span::raw("  payments is "),
        Span::styled(board.fault.name(), panel::fault_style(board.fault, palette).patch(bold)),
    ]);
    let state = if board.is_paused { "paused  " } else { "" };
    let right = format!("{state}{} s of {} s", board.elapsed.as_secs(), board.total.as_secs());
    frame.render_widget(left, area);
    frame.render_widget(Line::from(right).right_aligned(), area);
}

/// The steps of the script, the present one marked.
fn breadcrumbs(board: &Board, palette: Palette) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        if index > 0 {
            spans.push(Span::styled(" › ", dim()));
        }
        let style = match index.cmp(&board.step) {
            std::cmp::Ordering::Less => Style::new(),
            std::cmp::Ordering::Equal => palette.of(Color::Cyan).add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            std::cmp::Ordering::Greater => dim(),
        };
        spans.push(Span::styled(step.title, style));
    }
    spans
}

const fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests;
