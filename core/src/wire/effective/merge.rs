//! The one merge of what was written with preset and defaults, and what it notes on the way: what is wrong, and, where
//! somebody wants to know, which value comes from where.
//!
//! A value is noted where it is taken over. So what is said of its origin is said by the code that put it there, and there
//! is no second account of the merge that could fall behind it.

use super::super::faults::Faults;
use super::super::origin::{Said, Word};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// The faults found so far, and who said what.
#[derive(Debug, Default)]
pub(super) struct Merge {
    faults: Faults,
    /// `None`: nobody asks.
    said: Option<Said>,
}

impl Merge {
    /// Begins a merge. `notes`: whether it says where values come from.
    pub(super) fn new(notes: bool) -> Self {
        Self { faults: Faults::default(), said: notes.then(Said::default) }
    }

    /// Whether it says where values come from.
    pub(super) fn notes(&self) -> bool {
        self.said.is_some()
    }

    /// What was found.
    pub(super) fn finish(self) -> (Faults, Said) {
        (self.faults, self.said.unwrap_or_default())
    }

    /// Overrides a value by what was written, if anything was.
    pub(super) fn set<T>(&mut self, path: &str, target: &mut T, written: Option<T>) {
        if let Some(value) = written {
            *target = value;
            self.note(path, Word::Written);
        }
    }

    /// Overrides a duration by the one that was written, if any.
    pub(super) fn duration(&mut self, path: &str, written: Option<prost_types::Duration>, target: &mut Duration) {
        let written = self.faults.read_duration(path, written);
        self.set(path, target, written);
    }

    /// Moves a value that was not written out of the way of another one, which was.
    pub(super) fn follow<T: PartialEq>(&mut self, path: &str, target: &mut T, moved: T, other: &str) {
        if *target != moved {
            *target = moved;
            self.note(path, Word::Follows(other.to_owned()));
        }
    }

    /// Notes where a value comes from, or what holds for all below a path of which nothing else is noted.
    pub(super) fn note(&mut self, path: &str, word: Word) {
        if let Some(said) = &mut self.said {
            said.note(path, word);
        }
    }
}

impl Deref for Merge {
    type Target = Faults;

    fn deref(&self) -> &Faults {
        &self.faults
    }
}

impl DerefMut for Merge {
    fn deref_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }
}
