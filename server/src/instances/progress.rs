use std::collections::BTreeMap;

use cofferdam_core::{revision::Revision, wire::PolicyHash};

/// How many members have which policy in force. There are few policies in force at once, however many members.
#[derive(Debug, Default)]
pub(super) struct Progress {
    applied: BTreeMap<(Revision, PolicyHash), u32>,
    /// Members that have acknowledged nothing.
    nothing: u32,
}

impl Progress {
    pub(super) fn add(&mut self, applied: Option<(Revision, PolicyHash)>) {
        let count = match applied {
            Some(policy) => self.applied.entry(policy).or_default(),
            None => &mut self.nothing,
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn remove(&mut self, applied: Option<(Revision, PolicyHash)>) {
        let Some(policy) = applied else {
            self.nothing = self.nothing.saturating_sub(1);
            return;
        };
        if let Some(count) = self.applied.get_mut(&policy) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.applied.remove(&policy);
            }
        }
    }

    /// Members whose policy in force is one of these.
    pub(super) fn count(&self, holds: impl Fn(Revision, PolicyHash) -> bool) -> u32 {
        let counted = self.applied.iter().filter(|((revision, hash), _)| holds(*revision, *hash));
        counted.map(|(_, count)| count).sum()
    }
}
