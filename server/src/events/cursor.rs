//! How far the rings of managers were read.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Managers that a cursor may name: more than share any store.
const MAX_MANAGERS: usize = 64;

/// Managers that it names although nothing is to be heard of them any more.
const MAX_OVER: usize = 16;

/// The longest id of a manager.
const MAX_ID_BYTES: usize = 64;

/// Where somebody is who watches. In text, the milliseconds since 1970 at which the watching began, then `ID.NUMBER` for each
/// manager that is read and `ID~NUMBER` for one that is over, with commas between them; the contract promises nothing about
/// that.
///
/// It names no manager that has yet to be read, for nobody knows its id: of such a one everything was missed since the
/// beginning, and nothing before it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    began: SystemTime,
    /// The number of the last event of each manager that was told, by its id.
    read: BTreeMap<String, u64>,
    /// The same of managers of which no more is expected: that have said their last word, or were given up.
    over: VecDeque<(String, u64)>,
}

/// It is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as WatchEvents and ListEvents give them")]
pub(crate) struct NoCursor;

impl Cursor {
    /// Nothing was read, and what has happened since is wanted.
    pub(crate) fn since(began: SystemTime) -> Self {
        Self { began, read: BTreeMap::new(), over: VecDeque::new() }
    }

    /// When the watching began.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// The number of the last event of a manager that was told. `None`: it has yet to be read.
    pub(crate) fn number(&self, id: &str) -> Option<u64> {
        let over = || self.over.iter().find(|(over, _)| over == id).map(|(_, number)| *number);
        self.read.get(id).copied().or_else(over)
    }

    /// A manager was read up to a number.
    pub(crate) fn set(&mut self, id: &str, number: u64) {
        self.over.retain(|(over, _)| over != id);
        self.read.insert(id.to_owned(), number);
    }

    /// The managers of which more is expected.
    pub(crate) fn managers(&self) -> impl Iterator<Item = &str> {
        self.read.keys().map(String::as_str)
    }

    /// Nothing more is expected of a manager. Of too many such, the first are forgotten.
    pub(crate) fn end(&mut self, id: &str) {
        let Some(number) = self.read.remove(id) else { return };
        self.over.push_back((id.to_owned(), number));
        if self.over.len() > MAX_OVER {
            self.over.pop_front();
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())?;
        for (id, number) in &self.read {
            write!(f, ",{id}.{number}")?;
        }
        for (id, number) in &self.over {
            write!(f, ",{id}~{number}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut parts = text.split(',');
        let began = Duration::from_millis(number(parts.next().unwrap_or_default())?);
        let mut cursor = Self::since(UNIX_EPOCH.checked_add(began).ok_or(NoCursor)?);
        for part in parts {
            let (id, last) = part.split_once(['.', '~']).ok_or(NoCursor)?;
            let is_id = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !is_id || cursor.number(id).is_some() || cursor.read.len() + cursor.over.len() >= MAX_MANAGERS {
                return Err(NoCursor);
            }
            let last = number(last)?;
            if part.contains('~') {
                cursor.over.push_back((id.to_owned(), last));
            } else {
                cursor.read.insert(id.to_owned(), last);
            }
        }
        Ok(cursor)
    }
}

fn number(text: &str) -> Result<u64, NoCursor> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().ok_or(NoCursor)
}
