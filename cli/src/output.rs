//! What commands print: tables for people, the contract's JSON and YAML for programs.
//!
//! Data goes to the standard output and prose to the standard error, so that a pipe gets nothing but what it asked for.

mod document;
mod figures;
mod hints;
mod printable;
mod table;

pub(crate) use self::document::Document;
pub(crate) use self::figures::{age, basis_points, counted, length, rate, std_duration};
pub(crate) use self::hints::Hints;
#[cfg(test)]
pub(crate) use self::hints::WITHOUT_A_MANAGER;
pub(crate) use self::printable::{Lines, printable, printable_lines};
pub(crate) use self::table::{Cell, Table, Tone, Widths, Yielding, print_row};

use crate::message::{Fault, Named};
use clap::ValueEnum;
use std::io::{self, BufWriter, Write};

/// What a pipe holds.
const PIECE_BYTES: usize = 64 << 10;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// The answer as the contract's JSON
    Json,
    /// The same as YAML
    Yaml,
    /// Names alone, one a line
    Name,
}

impl Format {
    /// Whether programs read it.
    pub(crate) const fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

/// Whether tones show as colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_coloured: bool,
}

impl Style {
    /// Colours for a terminal whose user has not said `NO_COLOR`.
    pub(crate) const fn new(is_terminal: bool, no_color: bool) -> Self {
        Self { is_coloured: is_terminal && !no_color }
    }

    /// A text in a tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        match tone.code().filter(|_| self.is_coloured) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}

/// An output whose reader may leave, as `head` does: what is written after that goes nowhere, and is no error. So what a
/// command does, and what it ends with, does not hang on who reads of it.
pub(crate) struct Unread<'a> {
    out: &'a mut (dyn Write + Send),
    is_closed: bool,
}

impl<'a> Unread<'a> {
    /// Over another one.
    pub(crate) fn over(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, is_closed: false }
    }

    fn unless_closed<T>(&mut self, otherwise: T, write: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
        if self.is_closed {
            return Ok(otherwise);
        }
        match write(self.out) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(otherwise)
            }
            done => done,
        }
    }
}

impl Write for Unread<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), |out| out.flush())
    }
}

/// Why something was not printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    /// It is no message of the contract.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It has no form as a document.
    #[error("the answer cannot be written as a document: {0}")]
    Document(String),
    /// The output cannot be written to.
    #[error("the output cannot be written to: {0}")]
    Output(#[from] io::Error),
}

/// Prints a message as JSON or YAML. Further documents of YAML begin with `---`.
///
/// # Errors
///
/// [`PrintError`].
pub(crate) fn document<M: Named>(out: &mut dyn Write, format: Format, message: &M) -> Result<(), PrintError> {
    print_document(out, format, &Document::of(message)?)
}

/// An output to which much is written: it goes out in pieces of what a pipe holds, where the standard output would go out
/// line by line. Whoever writes to it flushes it.
pub(crate) fn in_pieces(out: &mut dyn Write) -> BufWriter<&mut dyn Write> {
    BufWriter::with_capacity(PIECE_BYTES, out)
}

/// Prints a document, as [`document()`] does. JSON goes out as it is made: a list of many services
/// is tens of MB of it.
///
/// # Errors
///
/// [`PrintError`].
pub(crate) fn print_document(out: &mut dyn Write, format: Format, document: &Document) -> Result<(), PrintError> {
    if format == Format::Yaml {
        out.write_all(format!("---\n{}", yaml(document)?).as_bytes())?;
        return Ok(out.flush()?);
    }
    let mut out = in_pieces(out);
    serde_json::to_writer_pretty(printable::Json(&mut out), document).map_err(not_json)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Prints a document as a line of JSON: one of many that go out as time goes by.
///
/// # Errors
///
/// [`PrintError`].
pub(crate) fn print_line(out: &mut dyn Write, document: &Document) -> Result<(), PrintError> {
    let mut out = in_pieces(out);
    serde_json::to_writer(printable::Json(&mut out), document).map_err(not_json)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn not_json(error: serde_json::Error) -> PrintError {
    match error.io_error_kind() {
        Some(_) => PrintError::Output(error.into()),
        None => PrintError::Document(error.to_string()),
    }
}

/// A document as YAML, without a mark before it.
///
/// # Errors
///
/// [`PrintError::Document`].
pub(crate) fn yaml(document: &Document) -> Result<String, PrintError> {
    let mut text = serde_saphyr::to_string(document).map_err(|error| PrintError::Document(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A line for people about what is going on. It is one line, whatever is in it.
pub(crate) fn say(line: &str) {
    // Whoever closed the standard error does not want to know.
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// Says what went wrong, in as many lines as it has.
pub(crate) fn complain(error: &dyn std::fmt::Display) {
    // As above.
    let _ = writeln!(io::stderr(), "cofferdam: {}", printable_lines(&error.to_string()));
}

#[cfg(test)]
mod tests;
