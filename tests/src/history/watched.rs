//! What a watch of the store promises, by the names that etcd gives it.
//!
//! A watch is asked for after a revision, and asked for again after the last one it told, each time it ends. All that it
//! tells from the first time to the last is held against the log of the store.

use super::LogEntry;
use std::collections::BTreeMap;

/// What a watch told at one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was asked for, after this revision.
    Begun {
        /// The revision.
        after: u64,
    },
    /// It told of changes.
    Told(Vec<LogEntry>),
}

/// A promise about watches that was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchBreach {
    /// Changes come by their revision.
    Ordered,
    /// No change comes twice.
    Unique,
    /// The changes of one transaction come together, and all of them.
    Atomic,
    /// Between the first change told and the last, none is left out, and each is as it was.
    Reliable,
    /// A watch that is asked for after a revision tells all that came after it, wherever the one before had ended.
    Resumable,
}

/// Holds what a watch told against the log of the store, up to the last revision told.
///
/// # Errors
///
/// The first promise of each kind that was not kept, with the revision.
pub fn check_watch(sightings: &[Sighting], log: &[LogEntry]) -> Result<usize, Vec<(WatchBreach, u64)>> {
    let mut transactions: BTreeMap<u64, Vec<&LogEntry>> = BTreeMap::new();
    for entry in log {
        transactions.entry(entry.revision).or_default().push(entry);
    }
    let mut breaches: Vec<(WatchBreach, u64)> = Vec::new();
    let mut breach = |kind, revision| {
        if breaches.iter().all(|(known, _)| *known != kind) {
            breaches.push((kind, revision));
        }
    };
    let (mut last, mut is_new, mut told) = (0, false, 0);
    for sighting in sightings {
        let entries = match sighting {
            Sighting::Begun { after } => {
                // One that begins elsewhere than where it stopped proves nothing about what lies between.
                (last, is_new) = (*after, true);
                continue;
            }
            Sighting::Told(entries) => entries,
        };
        let Some(first) = entries.first() else { continue };
        told += entries.len();
        let revision = first.revision;
        match transactions.get(&revision) {
            _ if revision == last => breach(WatchBreach::Unique, revision),
            _ if revision < last => breach(WatchBreach::Ordered, revision),
            Some(whole) if entries.iter().eq(whole.iter().copied()) => {}
            Some(whole) if whole.len() != entries.len() => breach(WatchBreach::Atomic, revision),
            _ => breach(WatchBreach::Reliable, revision),
        }
        if revision > last {
            if transactions.range(last + 1..revision).next().is_some() {
                breach(if is_new { WatchBreach::Resumable } else { WatchBreach::Reliable }, revision);
            }
            last = revision;
        }
        is_new = false;
    }
    if breaches.is_empty() { Ok(told) } else { Err(breaches) }
}
