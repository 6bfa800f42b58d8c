//! Whose turn it is to tell what all managers know.
//!
//! All of them go by the same rule, each for itself: what a manager has written, that one tells; what nobody has, or what a
//! manager was to tell that is gone, the first tells, by their ids, of those that were there when it happened. One that came
//! later never saw it, and if it were waited for, nobody would tell it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use cofferdam_proto::v1;
use tokio::time::Instant;

/// How long a manager is waited for that is not known: one that has started, or whom this one has yet to find.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// How long before it was lost a manager may have failed to tell what it knew: a little longer than it takes to notice that it
/// says nothing.
const BEFORE_LOST: Duration = Duration::from_secs(8);

/// For how long it is kept what others are to tell, while they can be reached. What is for one to tell that cannot, is kept
/// until that one is back or gone.
const KEPT_FOR: Duration = Duration::from_secs(90);

/// How much of it is kept.
pub(super) const MAX_KEPT: usize = 10_000;

/// The other managers, and what they are to tell.
#[derive(Debug, Default)]
pub(super) struct Turns {
    others: Others,
    kept: VecDeque<Kept>,
}

#[derive(Debug, Default)]
struct Others {
    there: BTreeMap<String, Other>,
    /// Those that are gone, and since when they could not be reached.
    gone: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Other {
    found: Instant,
    /// Since when it cannot be reached.
    lost: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    /// Whose turn it is. `None`: nobody has written it, and it is to be found out.
    teller: Option<String>,
    event: v1::Event,
    /// Since when this manager knows of it, and how long ago it had happened then.
    since: Instant,
    age: Duration,
    /// Since when it is the turn of the teller.
    turn: Instant,
}

/// What becomes of something that is kept.
enum Fate {
    Told,
    Kept,
    Dropped,
}

impl Turns {
    /// A manager is there, or can be reached again. Whether that is news: it was lost.
    pub(super) fn found(&mut self, id: &str, now: Instant) -> bool {
        self.others.gone.remove(id);
        let other = self.others.there.entry(id.to_owned()).or_insert(Other { found: now, lost: None });
        other.lost.take().is_some()
    }

    /// A manager cannot be reached. Whether that is news.
    pub(super) fn lost(&mut self, id: &str, now: Instant) -> bool {
        let Some(other) = self.others.there.get_mut(id) else { return false };
        let is_news = other.lost.is_none();
        other.lost.get_or_insert(now);
        is_news
    }

    /// A manager is gone.
    pub(super) fn gone(&mut self, id: &str, now: Instant) {
        if let Some(other) = self.others.there.remove(id) {
            self.others.gone.insert(id.to_owned(), other.lost.unwrap_or(now));
        }
    }

    /// How much more can be kept.
    pub(super) fn room(&self) -> usize {
        MAX_KEPT.saturating_sub(self.kept.len())
    }

    /// Keeps what somebody else may have to tell, and what happened so long ago. Where there is no room, the oldest goes: it is
    /// returned where nobody else was to tell it and it is the turn of `own`.
    pub(super) fn keep(
        &mut self,
        own: &str,
        teller: Option<&str>,
        event: v1::Event,
        age: Duration,
        now: Instant,
    ) -> Option<v1::Event> {
        let teller = teller.filter(|teller| !teller.is_empty()).map(str::to_owned);
        self.kept.push_back(Kept { teller, event, since: now, age, turn: now });
        let oldest = if self.kept.len() > MAX_KEPT { self.kept.pop_front() } else { None };
        let oldest = oldest.filter(|oldest| oldest.teller.is_none() && self.others.first(oldest, own) == own);
        oldest.map(|oldest| oldest.event)
    }

    /// What it is the turn of `own` to tell now.
    pub(super) fn due(&mut self, own: &str, now: Instant) -> Vec<v1::Event> {
        let mut due = Vec::new();
        let Self { others, kept } = self;
        kept.retain_mut(|kept| match others.fate(kept, own, now) {
            Fate::Told => {
                due.push(std::mem::take(&mut kept.event));
                false
            }
            Fate::Kept => true,
            Fate::Dropped => false,
        });
        others.gone.retain(|_, lost| now.saturating_duration_since(*lost) < KEPT_FOR);
        due
    }
}

impl Others {
    /// The first of those that were there when it happened. Whoever has it is one of them.
    fn first<'a>(&'a self, kept: &Kept, own: &'a str) -> &'a str {
        let was_there = |other: &Other| {
            kept.since.checked_duration_since(other.found).is_some_and(|known_for| known_for >= kept.age)
        };
        let first = self.there.iter().find(|(_, other)| was_there(other));
        first.map_or(own, |(id, _)| id.as_str()).min(own)
    }

    fn fate(&self, kept: &mut Kept, own: &str, now: Instant) -> Fate {
        let is_settled = now.saturating_duration_since(kept.since) >= UNKNOWN_FOR;
        let is_nobodys = match &kept.teller {
            Some(teller) if teller == own || self.there.contains_key(teller) => false,
            Some(teller) => match self.gone.get(teller) {
                Some(lost) if kept.turn + BEFORE_LOST < *lost => return Fate::Dropped,
                Some(_) => true,
                None => is_settled,
            },
            None => is_settled,
        };
        if is_nobodys {
            kept.teller = Some(self.first(kept, own).to_owned());
            kept.turn = now;
        }
        let Some(teller) = &kept.teller else { return Fate::Kept };
        if teller == own {
            return Fate::Told;
        }
        let is_lost = self.there.get(teller).is_some_and(|other| other.lost.is_some());
        if is_lost || now.saturating_duration_since(kept.turn) < KEPT_FOR { Fate::Kept } else { Fate::Dropped }
    }
}
