//! How far the rings of managers were read.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Managers that a cursor may name: more than share any store.
const MAX_MANAGERS: usize = 64;

/// The longest id of a manager.
const MAX_ID_BYTES: usize = 64;

/// The number of the last event of each manager that was told, by its id. In text, `ID.NUMBER` with commas between them; the
/// contract promises nothing about that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) read: BTreeMap<String, u64>,
}

/// It is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a cursor as WatchEvents and ListEvents give them")]
pub(crate) struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (id, number) in &self.read {
            write!(f, "{comma}{id}.{number}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut read = BTreeMap::new();
        for part in text.split(',') {
            let (id, number) = part.split_once('.').ok_or(NoCursor)?;
            let is_id = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten();
            let (true, Some(number)) = (is_id, number) else { return Err(NoCursor) };
            if read.insert(id.to_owned(), number).is_some() || read.len() > MAX_MANAGERS {
                return Err(NoCursor);
            }
        }
        Ok(Self { read })
    }
}
