//! What happened to the calls of one service of late, in slots of time.
//!
//! The last hour is kept in slots of ten seconds, the last day in slots of a minute. What comes in goes into the slot
//! that is open; when its time is over, it is packed into the few bytes that it takes, and when a minute is over, its slots
//! are added up. A slot in which nothing happened takes nothing, so an idle service costs a few words.
//!
//! Time is how long this manager has run, and is passed in. Reading changes nothing: what is due to be packed or
//! forgotten is looked past until something comes in, or the manager's housekeeping comes by.

mod slot;

use std::{collections::VecDeque, time::Duration};

use self::slot::Slot;
use crate::activity::Activity;

/// The length of a short slot.
const SHORT: Duration = Duration::from_secs(10);
/// The length of a long one.
const LONG: Duration = Duration::from_secs(60);
/// Short slots to a long one.
const SHORT_TO_LONG: u64 = 6;
/// Short slots that are kept: an hour.
const SHORTS: u64 = 360;
/// Long slots that are kept: a day.
const LONGS: u64 = 1440;
/// The longest window that short slots answer for.
const SHORT_WINDOW: Duration = Duration::from_secs(3600);

/// The longest window that there can be an answer for.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// What happened to the calls of one service of late.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of the slot that is open, and what happened in it; absent where nothing has.
    open: Option<Box<(u64, Activity)>>,
    /// Short slots that are over, by their numbers.
    shorts: VecDeque<(u64, Slot)>,
    /// Long ones.
    longs: VecDeque<(u64, Slot)>,
    /// The first long slot that is not added up yet.
    next_long: u64,
    /// What the slots take, in bytes.
    bytes: usize,
}

/// What happened in a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it began, from the beginning of this manager on.
    pub begin: Duration,
    /// Its length so far.
    pub length: Duration,
    /// What happened.
    pub activity: Activity,
}

impl History {
    /// Takes in what happened just now.
    pub(super) fn record(&mut self, activity: &Activity, now: Duration) {
        if *activity == Activity::default() {
            return;
        }
        self.advance(now);
        match &mut self.open {
            Some(open) => open.1.merge(activity),
            // Whoever read the clock before somebody else must not open a slot of a minute that is added up.
            None => {
                let number = number(now, SHORT).max(self.next_long * SHORT_TO_LONG);
                self.open = Some(Box::new((number, activity.clone())));
            }
        }
    }

    /// Packs what is over, adds up the minutes that are, and forgets what is too old.
    pub(super) fn advance(&mut self, now: Duration) {
        let (short, long) = (number(now, SHORT), number(now, LONG));
        if let Some(over) = self.open.take_if(|open| open.0 < short) {
            let (number, activity) = *over;
            let slot = Slot::pack(&activity);
            self.bytes += slot.bytes();
            self.shorts.push_back((number, slot));
        }
        let minute = |number: &u64| number / SHORT_TO_LONG;
        while let Some(next) = self.shorts.iter().map(|(number, _)| minute(number)).find(|next| *next >= self.next_long)
            && next < long
        {
            let mut sum = Activity::default();
            let parts = self.shorts.iter().filter(|(number, _)| minute(number) == next);
            parts.for_each(|(_, slot)| sum.merge(&slot.unpack()));
            let slot = Slot::pack(&sum);
            self.bytes += slot.bytes();
            self.longs.push_back((next, slot));
            self.next_long = next + 1;
        }
        self.next_long = self.next_long.max(long);
        while self.shorts.front().is_some_and(|(number, _)| number + SHORTS < short) {
            self.forget_short();
        }
        while self.longs.front().is_some_and(|(number, _)| number + LONGS < long) {
            self.forget_long();
        }
    }

    /// What its slots take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets slots, the oldest first, until the rest takes no more than so many bytes; how many.
    pub(super) fn trim(&mut self, max: usize) -> u64 {
        let mut forgotten = 0;
        while self.bytes > max && (self.forget_long() || self.forget_short()) {
            forgotten += 1;
        }
        forgotten
    }

    /// What happened in the last so long: in its [`period`].
    pub(super) fn over(&self, window: Duration, now: Duration) -> Activity {
        let mut sum = Activity::default();
        self.since(begin(window, now), window).for_each(|(_, activity)| sum.merge(&activity));
        sum
    }

    /// The slots of the last so long in which something happened, in order: short ones up to an hour, beyond that long
    /// ones.
    pub(super) fn points(&self, window: Duration, now: Duration) -> Vec<Point> {
        let length = length_for(window);
        let mut points: Vec<Point> = Vec::new();
        for (begin, activity) in self.since(begin(window, now), window) {
            let begin = begin_of(number(begin, length), length);
            match points.last_mut().filter(|last| last.begin == begin) {
                Some(last) => last.activity.merge(&activity),
                None => points.push(Point { begin, length: length.min(now.saturating_sub(begin)), activity }),
            }
        }
        points
    }

    /// What happened from a time on, slot by slot: in long slots where the window is one for them, and in short ones since
    /// they were last added up.
    fn since(&self, begin: Duration, window: Duration) -> impl Iterator<Item = (Duration, Activity)> {
        let is_long = window > SHORT_WINDOW;
        let longs = self.longs.iter().filter(move |_| is_long).map(|(number, slot)| (begin_of(*number, LONG), slot));
        let from = if is_long { begin_of(self.next_long, LONG) } else { Duration::ZERO };
        let shorts = self.shorts.iter().map(|(number, slot)| (begin_of(*number, SHORT), slot));
        let over = longs.chain(shorts.filter(move |(begin, _)| *begin >= from));
        let over = over.filter(move |(at, _)| *at >= begin).map(|(at, slot)| (at, slot.unpack()));
        let open = self.open.iter().map(|open| (begin_of(open.0, SHORT), open.1.clone()));
        over.chain(open.filter(move |(at, _)| *at >= begin))
    }

    fn forget_short(&mut self) -> bool {
        let forgotten = self.shorts.pop_front();
        self.forget(forgotten)
    }

    fn forget_long(&mut self) -> bool {
        let forgotten = self.longs.pop_front();
        self.forget(forgotten)
    }

    fn forget(&mut self, slot: Option<(u64, Slot)>) -> bool {
        if let Some((_, slot)) = &slot {
            self.bytes = self.bytes.saturating_sub(slot.bytes());
        }
        slot.is_some()
    }
}

/// How long a window really is: it begins with the slot that it begins in, and with this manager at the earliest.
pub(super) fn period(window: Duration, now: Duration) -> Duration {
    now.saturating_sub(begin(window, now))
}

/// The number of the slot of a length that a time is in.
fn number(time: Duration, length: Duration) -> u64 {
    time.as_secs() / length.as_secs()
}

fn begin_of(number: u64, length: Duration) -> Duration {
    Duration::from_secs(number.saturating_mul(length.as_secs()))
}

/// The length of the slots that answer for a window.
fn length_for(window: Duration) -> Duration {
    if window > SHORT_WINDOW { LONG } else { SHORT }
}

/// Where the slot begins that a window begins in.
fn begin(window: Duration, now: Duration) -> Duration {
    let length = length_for(window);
    begin_of(number(now.saturating_sub(window), length), length)
}

#[cfg(test)]
mod tests;
