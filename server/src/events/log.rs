//! The ring.

use std::{collections::VecDeque, sync::Arc};

use cofferdam_proto::v1;
use prost::Message;

use super::{Filter, filter::time_of};

/// What an event may take of the ring, in the mean.
const BYTES_OF_ONE: usize = 1024;

/// What an event takes besides its message, about.
const OVERHEAD: usize = 256;

/// Events that are looked at in one go, for the ring is held meanwhile.
const LOOKED_AT: usize = 2_000;

/// The newest events, numbered from 1.
#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<(Arc<v1::Event>, usize)>,
    last: u64,
    bytes: usize,
    max: usize,
}

/// Some events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The events, in their order.
    pub(crate) events: Vec<Arc<v1::Event>>,
    /// The number of the last one that was looked at.
    pub(crate) through: u64,
    /// How many there were before these that are kept no more.
    pub(crate) lost: u64,
    /// Whether there are more, or there may be.
    pub(crate) has_more: bool,
    /// Whether there will never be another one.
    pub(crate) is_closed: bool,
}

impl Log {
    pub(super) fn new(max: usize) -> Self {
        Self { events: VecDeque::new(), last: 0, bytes: 0, max: max.max(1) }
    }

    /// The number of the last event; zero: there was none.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// How many are not kept any more.
    fn forgotten(&self) -> u64 {
        self.last.saturating_sub(self.events.len() as u64)
    }

    pub(super) fn push(&mut self, event: v1::Event) {
        let size = event.encoded_len().saturating_add(OVERHEAD);
        self.last = self.last.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        self.events.push_back((Arc::new(event), size));
        while self.events.len() > self.max || (self.bytes > self.max * BYTES_OF_ONE && self.events.len() > 1) {
            if let Some((_, size)) = self.events.pop_front() {
                self.bytes = self.bytes.saturating_sub(size);
            }
        }
    }

    pub(super) fn after(&self, number: u64, max: usize, filter: &Filter) -> Page {
        let forgotten = self.forgotten();
        // A number that was never reached is not this ring's: nothing of it is known.
        let known = if number > self.last { 0 } else { number };
        let from = known.max(forgotten);
        let skipped = usize::try_from(from - forgotten).unwrap_or(usize::MAX);
        let mut page = Page { lost: self.lost_of(from - known, filter), through: from, ..Page::default() };
        for (event, _) in self.events.iter().skip(skipped).take(LOOKED_AT) {
            if page.events.len() >= max {
                break;
            }
            if filter.matches(event) {
                page.events.push(Arc::clone(event));
            }
            page.through += 1;
        }
        page.has_more = page.through < self.last;
        page
    }

    /// How many of those that are not kept any more may have been wanted: all of them, or none, for what is not kept was
    /// before what is.
    fn lost_of(&self, forgotten: u64, filter: &Filter) -> u64 {
        let oldest = self.events.front().and_then(|(event, _)| time_of(event));
        if filter.begins_after(oldest) { 0 } else { forgotten }
    }

    pub(super) fn newest(&self, max: usize, filter: &Filter) -> Page {
        let mut wanted = self.events.iter().rev().map(|(event, _)| event).filter(|event| filter.matches(event));
        let mut events: Vec<_> = wanted.by_ref().take(max).map(Arc::clone).collect();
        events.reverse();
        let has_more = wanted.next().is_some();
        Page { events, through: self.last, lost: self.lost_of(self.forgotten(), filter), has_more, is_closed: false }
    }
}
