//! What others say, made safe to print.
//!
//! A reason, a message of an upstream or a name may hold anything: what moves a cursor or hides a line, and what begins a
//! line of its own that looks like ours. So all that is formatted for people goes through [`Lines`], where one `writeln!` is
//! one line, whatever is in it, and through [`say`](super::say), which is the same for the standard error. Documents, and
//! answers of services, are bytes for programs, and are written as they are.

use super::{Hints, Style, Tone};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

/// Whether a terminal obeys it instead of showing it: control characters, line separators, and what turns the direction of
/// a text round.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text as one line, in which a terminal has nothing to obey: what it would obey is shown instead, as `\n` or `\u{1b}`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// The same of a text of several lines.
pub(crate) fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |c: char| is_obeyed(c) && !is_kept(c);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if is_escaped(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// An output for JSON, whose pieces are whole texts: in what goes through, a terminal has nothing to obey either. Outside of
/// its texts, a document holds nothing but new lines.
pub(super) struct Json<W>(pub(super) W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Most are pieces of a few letters, of which there are millions.
        if bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            self.0.write_all(bytes)?;
            return Ok(bytes.len());
        }
        match str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(json(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_obeyed(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    // None of them lies beyond 16 bits.
    let shown = |c: char| if is_obeyed(c) && c != '\n' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// An output for people: whatever is formatted into it with `writeln!` is one line. Bytes are written as they are.
pub(crate) struct Lines<'a> {
    out: &'a mut (dyn Write + Send),
    style: Style,
    hints: Option<&'a OnceLock<Hints>>,
}

impl<'a> Lines<'a> {
    /// Over another one. The colours of a style are let through.
    pub(crate) fn over(out: &'a mut (dyn Write + Send), style: Style) -> Self {
        Self { out, style, hints: None }
    }

    /// The same, where lines may suggest commands. Until `hints` are known, they say no more than they do.
    pub(crate) fn suggesting(self, hints: &'a OnceLock<Hints>) -> Self {
        Self { hints: Some(hints), ..self }
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        let text = arguments.to_string();
        let (line, end) = text.strip_suffix('\n').map_or((text.as_str(), ""), |line| (line, "\n"));
        let hints = self.hints.and_then(OnceLock::get);
        let line = hints.map_or(Cow::Borrowed(line), |hints| hints.line(line));
        self.out.write_all(format!("{}{end}", self.style.printable(&line)).as_bytes())
    }
}

impl Style {
    /// A line, with the colours of this style and no others.
    fn printable(self, line: &str) -> String {
        if !self.is_coloured {
            return printable(line).into_owned();
        }
        let mut shown = String::new();
        for (index, part) in line.split('\u{1b}').enumerate() {
            let code = Tone::CODES.into_iter().find(|code| part.starts_with(code));
            match (index, code) {
                (0, _) => {}
                (_, Some(_)) => shown.push('\u{1b}'),
                (_, None) => shown.push_str("\\u{1b}"),
            }
            shown.push_str(&printable(part));
        }
        shown
    }
}
