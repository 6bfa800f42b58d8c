//! Whose turn it is to tell what all managers know.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use cofferdam_proto::v1;
use tokio::time::Instant;

/// How long a manager is waited for that is not known: one that has started, or whom this one has yet to find.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// How long before it was lost a manager may have failed to tell what it knew.
const BEFORE_LOST: Duration = Duration::from_secs(3);

/// For how long it is kept what others are to tell: longer than it takes to be sure that one of them is gone.
const KEPT_FOR: Duration = Duration::from_secs(90);

/// How much of it is kept.
const MAX_KEPT: usize = 1_000;

/// The other managers, and what they are to tell.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Since when each cannot be reached.
    others: BTreeMap<String, Option<Instant>>,
    /// Those that are gone, and since when they could not be reached.
    gone: BTreeMap<String, Instant>,
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Whose turn it is. `None`: the first's.
    teller: Option<String>,
    event: v1::Event,
    since: Instant,
}

impl Turns {
    /// A manager is there, or can be reached again. Whether that is news: it was lost.
    pub(super) fn found(&mut self, id: &str) -> bool {
        self.gone.remove(id);
        self.others.insert(id.to_owned(), None).flatten().is_some()
    }

    /// A manager cannot be reached. Whether that is news.
    pub(super) fn lost(&mut self, id: &str, now: Instant) -> bool {
        let Some(lost) = self.others.get_mut(id) else { return false };
        let is_news = lost.is_none();
        lost.get_or_insert(now);
        is_news
    }

    /// A manager is gone.
    pub(super) fn gone(&mut self, id: &str) {
        if let Some(lost) = self.others.remove(id) {
            self.gone.insert(id.to_owned(), lost.unwrap_or_else(Instant::now));
        }
    }

    /// Keeps what is somebody else's to tell.
    pub(super) fn keep(&mut self, teller: Option<&str>, event: v1::Event, now: Instant) {
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        let teller = teller.filter(|teller| !teller.is_empty()).map(str::to_owned);
        self.kept.push_back(Kept { teller, event, since: now });
    }

    /// What it is the turn of `own` to tell now.
    pub(super) fn due(&mut self, own: &str, now: Instant) -> Vec<v1::Event> {
        let mut due = Vec::new();
        let first = self.others.keys().next().map_or(own, String::as_str).min(own);
        let (others, gone) = (&self.others, &self.gone);
        self.kept.retain_mut(|kept| {
            let age = now.saturating_duration_since(kept.since);
            let is_nobodys = match &kept.teller {
                Some(teller) if teller == own || others.contains_key(teller) => false,
                Some(teller) if gone.get(teller).is_some_and(|lost| kept.since + BEFORE_LOST < *lost) => return false,
                Some(teller) => gone.contains_key(teller) || age >= UNKNOWN_FOR,
                None => age >= UNKNOWN_FOR,
            };
            if is_nobodys {
                kept.teller = Some(first.to_owned());
            }
            if kept.teller.as_deref() == Some(own) {
                due.push(std::mem::take(&mut kept.event));
                return false;
            }
            age < KEPT_FOR
        });
        self.gone.retain(|_, lost| now.saturating_duration_since(*lost) < KEPT_FOR);
        due
    }
}
