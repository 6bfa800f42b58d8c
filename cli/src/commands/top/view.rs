//! The picture: services in their order, the one that is chosen, and what is being asked.
//!
//! Only the rows that are seen are written, so ten thousand services cost no more to draw than twenty. It fits 80 x 24 and takes
//! what more there is; nothing depends on colours.

use super::input::{Key, Order, Outcome, What};
use super::rows::{Row, Sort};
use super::watch::{Asked, Snapshot};
use crate::output::{Tone, age};
use cofferdam_core::level::{Level, LevelChoice};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;
use tokio::time::Instant;

/// How old what is shown may be before it is said in another colour.
const OLD: Duration = Duration::from_secs(10);

const KEYS: &str = "arrows choose  / names  s sort  l level  t trip  r reset  q quit";
const LEVELS: &str = "level: 0 none  1 basic  2 enhanced  3 full  a auto  esc back";

/// Widths of the columns behind the name.
const WIDTHS: [usize; 7] = [9, 14, 8, 6, 6, 6, 6];
const HEADERS: [&str; 7] = ["LEVEL", "STATE", "CALLS/S", "ERR%", "P99", "FALLB%", "SYNC"];

/// What is shown, and what is being asked.
#[derive(Debug)]
pub(super) struct View {
    server: String,
    names_namespaces: bool,
    no_color: bool,
    snapshot: Snapshot,
    /// When it was asked for last with success.
    seen: Option<Instant>,
    /// Why there is no newer one.
    trouble: Option<String>,
    sort: Sort,
    filter: String,
    /// The service that is chosen, by namespace and name: it stays so while rows move.
    chosen: Option<(String, String)>,
    /// The first row that is seen.
    top: usize,
    /// How many rows there were room for when it was last drawn.
    room: usize,
    mode: Mode,
    /// What was last done.
    word: String,
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Looking,
    Typing,
    Level((String, String)),
    Asking(Order),
}

impl View {
    pub(super) fn new(server: String, names_namespaces: bool, no_color: bool) -> Self {
        Self {
            server,
            names_namespaces,
            no_color,
            snapshot: Snapshot::default(),
            seen: None,
            trouble: None,
            sort: Sort::default(),
            filter: String::new(),
            chosen: None,
            top: 0,
            room: 1,
            mode: Mode::default(),
            word: String::new(),
        }
    }

    /// Takes an answer in, or why there is none: what was there before stays.
    pub(super) fn take(&mut self, asked: Asked, now: Instant) {
        match asked {
            Ok(mut snapshot) => {
                self.sort.apply(&mut snapshot.rows);
                self.snapshot = snapshot;
                (self.seen, self.trouble) = (Some(now), None);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// Says what came of something.
    pub(super) fn tell(&mut self, word: String) {
        self.word = word;
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: Key) -> Outcome {
        if key == Key::Quit {
            return Outcome::Quit;
        }
        match std::mem::take(&mut self.mode) {
            Mode::Looking => return self.look(key),
            Mode::Typing => self.type_in(key),
            Mode::Level(place) => self.choose_level(place, key),
            Mode::Asking(order) => match key {
                Key::Char('y' | 'Y') | Key::Enter => {
                    self.word = format!("{}: {} ...", order.place.1, order.what.done());
                    return Outcome::Do(order);
                }
                _ => "nothing was changed".clone_into(&mut self.word),
            },
        }
        Outcome::Nothing
    }

    fn look(&mut self, key: Key) -> Outcome {
        match key {
            Key::Char('q') | Key::Escape => return Outcome::Quit,
            Key::Char('s') => {
                self.sort = self.sort.next();
                self.sort.apply(&mut self.snapshot.rows);
            }
            Key::Char('/') => self.mode = Mode::Typing,
            Key::Char('k') | Key::Up => self.step(-1),
            Key::Char('j') | Key::Down => self.step(1),
            Key::PageUp => self.step(-self.page()),
            Key::PageDown => self.step(self.page()),
            Key::Home => self.step(isize::MIN),
            Key::End => self.step(isize::MAX),
            Key::Char('l') => self.mode = self.place().map_or(Mode::Looking, Mode::Level),
            Key::Char('t') => self.ask(What::Trip),
            Key::Char('r') => self.ask(What::Reset),
            _ => {}
        }
        Outcome::Nothing
    }

    fn type_in(&mut self, key: Key) {
        self.mode = Mode::Typing;
        match key {
            Key::Enter => self.mode = Mode::Looking,
            Key::Escape => {
                self.filter.clear();
                self.mode = Mode::Looking;
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(char) if self.filter.len() < 128 => self.filter.push(char),
            _ => {}
        }
        self.top = 0;
    }

    fn choose_level(&mut self, place: (String, String), key: Key) {
        let level = match key {
            Key::Char('0') => Level::None.into(),
            Key::Char('1') => Level::Basic.into(),
            Key::Char('2') => Level::Enhanced.into(),
            Key::Char('3') => Level::Full.into(),
            Key::Char('a') => LevelChoice::Auto,
            _ => return,
        };
        self.mode = Mode::Asking(Order { place, what: What::Level(level) });
    }

    fn ask(&mut self, what: What) {
        if let Some(place) = self.place() {
            self.mode = Mode::Asking(Order { place, what });
        }
    }

    /// The rows that the filter lets through.
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.snapshot.rows.iter().filter(|row| row.name.contains(&self.filter) || row.namespace.contains(&self.filter))
    }

    /// Where the chosen row is now; the first, where none is chosen or it is gone.
    fn at(&self) -> usize {
        let is_chosen = |row: &Row| self.chosen.as_ref().is_some_and(|(n, s)| row.namespace == *n && row.name == *s);
        self.rows().position(is_chosen).unwrap_or_default()
    }

    fn place(&self) -> Option<(String, String)> {
        self.rows().nth(self.at()).map(|row| (row.namespace.clone(), row.name.clone()))
    }

    fn page(&self) -> isize {
        isize::try_from(self.room).unwrap_or(isize::MAX)
    }

    fn step(&mut self, by: isize) {
        let last = self.rows().count().saturating_sub(1);
        let at = self.at().saturating_add_signed(by).min(last);
        let chosen = self.rows().nth(at).map(|row| (row.namespace.clone(), row.name.clone()));
        self.chosen = chosen;
    }

    /// Draws it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: Instant) {
        let [title, note, header, list, word, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(now), title);
        frame.render_widget(self.note(note.width), note);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Line::styled(line("SERVICE", &HEADERS.map(str::to_owned), header.width), bold), header);
        self.draw_rows(frame, list);
        frame.render_widget(Line::raw(self.word.as_str()), word);
        frame.render_widget(self.prompt(), keys);
    }

    fn draw_rows(&mut self, frame: &mut Frame<'_>, area: Rect) {
        self.room = usize::from(area.height).max(1);
        let at = self.at();
        // The chosen row is always seen.
        self.top = self.top.clamp(at.saturating_sub(self.room - 1), at);
        let lines = self.rows().enumerate().skip(self.top).take(self.room).map(|(index, row)| {
            let name = self.name_of(row);
            let [calls, errors, p99, fallbacks, sync] = row.figures();
            let cells = [row.level.clone(), row.state(), calls, errors, p99, fallbacks, sync];
            let style = self.tone(row.tone());
            let style = if index == at { style.add_modifier(Modifier::REVERSED) } else { style };
            Line::styled(line(&name, &cells, area.width), style)
        });
        let lines: Vec<_> = lines.collect();
        let empty = match (lines.is_empty(), self.seen) {
            (false, _) | (true, None) => None,
            (true, Some(_)) if self.filter.is_empty() => Some("no service is registered: cofferdam register NAME"),
            (true, Some(_)) => Some("no service has such a name"),
        };
        frame.render_widget(Paragraph::new(empty.map_or(lines, |text| vec![Line::raw(text)])), area);
    }

    fn title(&self, now: Instant) -> Line<'_> {
        let open = self.snapshot.rows.iter().filter(|row| row.is_open()).count();
        let count = format!(", {} services, ", self.snapshot.rows.len());
        let open_style = if open > 0 { self.tone(Tone::Bad) } else { Style::new() };
        let old = self.seen.map(|seen| now.saturating_duration_since(seen));
        let (when, tone) = match old {
            None => ("asking".to_owned(), Tone::Plain),
            Some(old) if old >= OLD => (format!("{} old", age(Some(old))), Tone::Bad),
            Some(old) => (format!("{} old", age(Some(old))), Tone::Faint),
        };
        Line::from_iter([
            Span::styled("cofferdam top", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!("  {}", self.server)),
            Span::raw("  "),
            Span::styled(when, self.tone(tone)),
            Span::raw(count),
            Span::styled(format!("{open} open"), open_style),
            Span::raw(format!(", {} instances", self.snapshot.instances)),
        ])
    }

    /// What a row is called here.
    fn name_of(&self, row: &Row) -> String {
        if self.names_namespaces { format!("{}/{}", row.namespace, row.name) } else { row.name.clone() }
    }

    fn note(&self, width: u16) -> Line<'_> {
        if let Some(trouble) = &self.trouble {
            return Line::styled(trouble.as_str(), self.tone(Tone::Bad));
        }
        if let Some(note) = self.snapshot.notes.first() {
            return Line::styled(note.as_str(), self.tone(Tone::Warn));
        }
        let filter = if self.filter.is_empty() { String::new() } else { format!(", names with {}", self.filter) };
        let chosen = self.rows().nth(self.at()).map(|row| self.name_of(row));
        let cut = chosen.filter(|name| name.chars().count() > room(width));
        let whole = cut.map_or_else(String::new, |name| format!(", on {name}"));
        Line::styled(format!("{}{filter}{whole}", self.sort.name()), Style::new().add_modifier(Modifier::DIM))
    }

    fn prompt(&self) -> Line<'_> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        match &self.mode {
            Mode::Looking => Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM)),
            Mode::Typing => Line::styled(format!("/{}_  enter done  esc all", self.filter), bold),
            Mode::Level((_, service)) => Line::styled(format!("{service}  {LEVELS}"), bold),
            Mode::Asking(order) => Line::styled(format!("{} y/n", order.what.question(&order.place.1)), bold),
        }
    }

    fn tone(&self, tone: Tone) -> Style {
        let coloured = |color| if self.no_color { Style::new() } else { Style::new().fg(color) };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => coloured(Color::Green),
            Tone::Warn => coloured(Color::Yellow),
            Tone::Bad if self.no_color => Style::new().add_modifier(Modifier::BOLD),
            Tone::Bad => Style::new().fg(Color::Red),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

/// How much room there is for names.
fn room(width: u16) -> usize {
    let all: usize = WIDTHS.iter().map(|width| width + 1).sum();
    usize::from(width).saturating_sub(all).clamp(16, 48)
}

/// A name in this room. Names that begin alike end otherwise: a long one is cut in its middle.
fn cut_name(name: &str, room: usize) -> String {
    let length = name.chars().count();
    if length <= room {
        return name.to_owned();
    }
    let end = room.saturating_sub(1) / 2;
    let begin = room.saturating_sub(1 + end);
    name.chars().take(begin).chain(['~']).chain(name.chars().skip(length - end)).collect()
}

/// A row of text as wide as there is room. Columns that find none are left out.
fn line(name: &str, cells: &[String; 7], width: u16) -> String {
    let room = room(width);
    let cut = |text: &str, room: usize| -> String {
        let long = text.chars().count() > room;
        let shown: String = text.chars().take(if long { room.saturating_sub(1) } else { room }).collect();
        if long { shown + "~" } else { shown }
    };
    let mut line = format!("{:<room$}", cut_name(name, room));
    for (index, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        // Words to the left, numbers to the right.
        let cell = cut(cell, width);
        line.push_str(&if index < 2 { format!(" {cell:<width$}") } else { format!(" {cell:>width$}") });
    }
    line
}

#[cfg(test)]
mod tests;
