//! `get -w`: looks again and again, and prints what has changed.
//!
//! It asks, as figures change all the time and no event tells of that; `events -w` is a stream. A row keeps its columns, so
//! that lines that come later stand below the first ones; a manager that is away is told once, and asked on.

use super::super::session::Session;
use super::{Error, GetArgs, Listing, list, print_documents};
use crate::client::CallError;
use crate::message::duration;
use crate::output::{Cell, Document, Format, Widths, complain, print_row, say};
use std::collections::HashMap;

/// What a row is about, and which of the rows about it it is: an instance that calls several services has several.
type Key = (usize, String);

/// What was printed last.
#[derive(Default)]
struct Shown {
    rows: HashMap<Key, Vec<Cell>>,
    documents: Vec<Document>,
    notes: Vec<String>,
    widths: Widths,
    is_away: bool,
}

/// Prints changes until it is stopped, or nobody reads them.
pub(super) async fn run(args: &GetArgs, session: &mut Session<'_>) -> Result<(), Error> {
    say(&format!("looking every {}; Ctrl-C ends it", duration(args.every)));
    let mut shown = Shown::default();
    let mut looks = tokio::time::interval(args.every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match list(args, session).await {
            Ok(listing) => {
                shown.is_away = false;
                shown.print(listing, session)?;
            }
            Err(error @ Error::Call(CallError::Refused(_) | CallError::BadServer { .. })) => return Err(error),
            Err(Error::Call(error)) if !shown.widths.is_empty() => {
                if !shown.is_away {
                    complain(&format!("{}; asking again", error.in_a_line()));
                }
                shown.is_away = true;
            }
            Err(error) => return Err(error),
        }
    }
}

impl Shown {
    fn print(&mut self, listing: Listing, session: &mut Session<'_>) -> Result<(), Error> {
        listing.notes.iter().filter(|note| !self.notes.contains(note)).for_each(|note| say(note));
        self.notes.clone_from(&listing.notes);
        let widths = listing.table.widths(&self.widths, session.room);
        let is_first = std::mem::replace(&mut self.widths, widths).is_empty();
        if session.format.is_document() {
            if self.documents != listing.documents {
                print_documents(&listing, session)?;
            }
            self.documents = listing.documents;
            return Ok(());
        }
        if is_first && session.format != Format::Name {
            listing.table.print_header(session.out, &self.widths)?;
        }
        for (key, row) in self.changed(&listing) {
            match (row, session.format) {
                (_, Format::Name) => writeln!(session.out, "{}", key.1)?,
                (Some(row), _) => print_row(session.out, row, &self.widths, session.style)?,
                (None, _) => writeln!(session.out, "{} is gone", key.1)?,
            }
        }
        session.out.flush()?;
        self.rows = keyed(&listing).map(|(key, row)| (key, row.clone())).collect();
        Ok(())
    }

    /// Rows that are new or other than before, and the names of those that are gone.
    fn changed<'a>(&self, listing: &'a Listing) -> Vec<(Key, Option<&'a Vec<Cell>>)> {
        let now: HashMap<_, _> = keyed(listing).collect();
        let mut gone: Vec<_> = self.rows.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
        gone.sort();
        let is_same = |key: &Key, row: &[Cell]| self.rows.get(key).is_some_and(|before| says_the_same(before, row));
        let changed = keyed(listing).filter(|(key, row)| !is_same(key, row));
        changed.map(|(key, row)| (key, Some(row))).chain(gone.into_iter().map(|key| (key, None))).collect()
    }
}

/// The rows by what they are about.
fn keyed(listing: &Listing) -> impl Iterator<Item = (Key, &Vec<Cell>)> {
    let mut seen = HashMap::<&str, usize>::new();
    listing.names.iter().zip(listing.table.rows()).map(move |(name, row)| {
        let count = seen.entry(name.as_str()).or_default();
        *count += 1;
        ((*count, name.clone()), row)
    })
}

/// Ages change with every look, which is no news.
fn says_the_same(before: &[Cell], row: &[Cell]) -> bool {
    before.len() == row.len() && before.iter().zip(row).all(|(before, now)| before == now || now.is_faint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Table, Tone};

    fn listing(rows: &[(&str, &str)]) -> Listing {
        let mut table = Table::new(["NAME", "REV"]);
        rows.iter().for_each(|(name, revision)| table.push(vec![(*name).into(), (*revision).into()]));
        let names = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
        Listing { table, names, documents: Vec::new(), notes: Vec::new() }
    }

    #[test]
    fn only_what_has_changed_is_printed() {
        let mut shown = Shown::default();
        let first = listing(&[("a", "1"), ("b", "1"), ("b", "2")]);
        assert_eq!(shown.changed(&first).len(), 3, "all of it is new");
        shown.rows = keyed(&first).map(|(key, row)| (key, row.clone())).collect();
        assert_eq!(shown.changed(&first), []);
        let second = listing(&[("b", "1"), ("b", "3"), ("c", "1")]);
        let changed: Vec<_> =
            shown.changed(&second).into_iter().map(|((_, name), row)| (name, row.is_some())).collect();
        assert!(says_the_same(&[Cell::toned("1s", Tone::Faint)], &[Cell::toned("3s", Tone::Faint)]));
        assert!(!says_the_same(&["1s".into()], &["3s".into()]));
        assert_eq!(changed, [("b".to_owned(), true), ("c".to_owned(), true), ("a".to_owned(), false)]);
    }
}
