//! Columns that line up.

use super::{Style, in_pieces, printable};
use std::io::{self, Write};

/// Between two columns.
const GAP: usize = 3;

/// What a cell says of a service, beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// It does well.
    Good,
    /// It is worth a look.
    Warn,
    /// It does badly.
    Bad,
    /// It matters little.
    Faint,
}

impl Tone {
    /// What follows the escape character wherever a tone begins or ends.
    pub(super) const CODES: [&str; 5] = ["[32m", "[33m", "[31m", "[2m", "[0m"];

    /// The terminal's code for it.
    pub(super) const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// A field of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// In a tone. What a terminal would obey in the text is shown instead, so that it is as wide as it looks.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: printable(&text.into()).into_owned(), tone }
    }

    /// What it says, without its tone.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matters little.
    pub(crate) fn is_faint(&self) -> bool {
        self.tone == Tone::Faint
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows under a header. A cell that is empty is shown as a hyphen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With this header.
    pub(crate) fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self { header: header.into(), rows: Vec::new() }
    }

    /// With another row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// How wide its columns are, and no less than they were.
    pub(crate) fn widths(&self, before: &[usize]) -> Vec<usize> {
        let width = |column: usize, title: &str| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(&cell.text).chars().count());
            let before = before.get(column).copied().unwrap_or_default();
            cells.fold(title.len().max(before), usize::max)
        };
        self.header.iter().enumerate().map(|(column, title)| width(column, title)).collect()
    }

    /// Prints all of it.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(crate) fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        let widths = self.widths(&[]);
        let mut out = in_pieces(out);
        self.print_header(&mut out, &widths)?;
        self.rows.iter().try_for_each(|row| print_row(&mut out, row, &widths, style))?;
        out.flush()
    }

    /// Prints its header.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(crate) fn print_header(&self, out: &mut dyn Write, widths: &[usize]) -> io::Result<()> {
        let titles: Vec<_> = self.header.iter().map(|title| Cell::from(*title)).collect();
        print_row(out, &titles, widths, Style { is_coloured: false })
    }
}

/// Prints one row.
///
/// # Errors
///
/// The output cannot be written to.
pub(crate) fn print_row(out: &mut dyn Write, row: &[Cell], widths: &[usize], style: Style) -> io::Result<()> {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = shown(&cell.text);
        line.push_str(&style.paint(cell.tone, text));
        if index + 1 < row.len() {
            let padding = width.saturating_sub(text.chars().count()) + GAP;
            line.extend(std::iter::repeat_n(' ', padding));
        }
    }
    writeln!(out, "{}", line.trim_end())
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
