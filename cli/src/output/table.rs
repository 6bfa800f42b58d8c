//! Columns that line up.

use super::{Style, in_pieces, printable};
use std::borrow::Cow;
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

/// A column that gives way where there is no room, and the width that it keeps. Zero: it is left out.
pub(crate) type Yielding = (&'static str, usize);

/// Rows under a header. A cell that is empty is shown as a hyphen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    yielding: &'static [Yielding],
}

/// How wide the columns of a table are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Widths {
    /// Zero: the column is left out.
    columns: Vec<usize>,
    /// The most that each may come to have, as there is no more room.
    most: Vec<usize>,
}

impl Widths {
    /// Whether they are of no table.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }
}

impl Table {
    /// With this header.
    pub(crate) fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self { header: header.into(), rows: Vec::new(), yielding: &[] }
    }

    /// With columns that give way where there is no room for all, the one that matters least first; one may be named again,
    /// to give way further. None of them is a name.
    pub(crate) fn yielding(self, yielding: &'static [Yielding]) -> Self {
        Self { yielding, ..self }
    }

    /// With another row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// How wide its columns are in so much room, and no less than they were. `None`: there is room for all.
    pub(crate) fn widths(&self, before: &Widths, room: Option<usize>) -> Widths {
        let width = |column: usize, title: &str| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(&cell.text).chars().count());
            let before = before.columns.get(column).copied().unwrap_or_default();
            cells.fold(title.len().max(before), usize::max)
        };
        let wanted: Vec<_> = self.header.iter().enumerate().map(|(column, title)| width(column, title)).collect();
        // Rows that come later keep to the header that is printed.
        let most = if before.is_empty() { self.most(&wanted, room) } else { before.most.clone() };
        Widths { columns: wanted.iter().zip(&most).map(|(wanted, most)| *wanted.min(most)).collect(), most }
    }

    /// The most that columns may have for all to fit into so much room.
    fn most(&self, wanted: &[usize], room: Option<usize>) -> Vec<usize> {
        let mut most = vec![usize::MAX; wanted.len()];
        let Some(room) = room else { return most };
        for (title, least) in self.yielding {
            let given = wanted.iter().zip(&most).map(|(wanted, most)| *wanted.min(most)).filter(|width| *width > 0);
            let taken = given.map(|width| width + GAP).sum::<usize>().saturating_sub(GAP);
            let over = taken.saturating_sub(room);
            let Some(column) = self.header.iter().position(|known| known == title).filter(|_| over > 0) else {
                continue;
            };
            if let (Some(wanted), Some(most)) = (wanted.get(column), most.get_mut(column)) {
                *most = match least {
                    0 => 0,
                    least => wanted.min(most).saturating_sub(over).max(*least).max(title.len()),
                };
            }
        }
        most
    }

    /// Prints all of it.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(crate) fn print(&self, out: &mut dyn Write, style: Style) -> io::Result<()> {
        self.print_within(out, style, None)
    }

    /// Prints it in so much room, as far as it has columns that give way. `None`: all of it.
    ///
    /// # Errors
    ///
    /// The output cannot be written to.
    pub(crate) fn print_within(&self, out: &mut dyn Write, style: Style, room: Option<usize>) -> io::Result<()> {
        let widths = self.widths(&Widths::default(), room);
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
    pub(crate) fn print_header(&self, out: &mut dyn Write, widths: &Widths) -> io::Result<()> {
        let titles: Vec<_> = self.header.iter().map(|title| Cell::from(*title)).collect();
        print_row(out, &titles, widths, Style { is_coloured: false })
    }
}

/// Prints one row.
///
/// # Errors
///
/// The output cannot be written to.
pub(crate) fn print_row(out: &mut dyn Write, row: &[Cell], widths: &Widths, style: Style) -> io::Result<()> {
    let mut line = String::new();
    for ((cell, width), most) in row.iter().zip(&widths.columns).zip(&widths.most).filter(|((_, width), _)| **width > 0)
    {
        let text = cut(shown(&cell.text), *most);
        line.push_str(&style.paint(cell.tone, &text));
        let padding = width.saturating_sub(text.chars().count()) + GAP;
        line.extend(std::iter::repeat_n(' ', padding));
    }
    writeln!(out, "{}", line.trim_end())
}

/// A text that is at most so long. One that was longer ends with a tilde.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().take(most.saturating_sub(1)).chain(['~']).collect()),
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
