//! What each thread counts for itself.
//!
//! Two threads that write to one cache line wait for each other far longer than the counting takes, and even a line that
//! nobody else wants costs an atomic addition some five nanoseconds. So what every call counts is cut into stripes, and
//! each living thread owns one: nobody else writes to it, and an addition is a plain load and a plain store. Whoever
//! wants the sum reads them all.
//!
//! **Whose stripe it is.** A thread takes the lowest free of 64 [slots](slot) when it first counts, and gives it back when
//! it ends. The next thread that takes the slot goes on where the last one stopped: it takes the slot after it was given
//! back, so it sees all that was written, and no count is lost or doubled on the way. Slots are of the process, stripes
//! of each [`Striped`]: one slot is the same thread's stripe in all of them.
//!
//! **Beyond.** Threads that find no slot free, or run while their thread-locals are taken down, share one stripe more and
//! write to it with atomic operations. That costs time, not counts, and such a thread takes a slot as soon as one is free.
//!
//! **Memory.** A stripe is made when it is first written to. As slots are taken from the lowest on, there are as many as
//! threads have counted at once.

mod slot;

#[cfg(all(loom, test))]
pub(crate) use self::slot::begin_process;

use self::slot::{SLOTS, Slot};
use crate::sync::OnceLock;
use std::marker::PhantomData;

/// How many slots' stripes are found without going by a table.
const NEAR: usize = if cfg!(loom) { 2 } else { 16 };

/// A `T` for each thread.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    near: [OnceLock<Box<T>>; NEAR],
    /// The others' table; it is made when the first of them is.
    far: OnceLock<Box<[OnceLock<Box<T>>]>>,
    shared: OnceLock<Box<T>>,
}

/// The stripe that a thread writes to.
pub(crate) enum Stripe<'a, T> {
    /// Its own.
    Own(Own<'a, T>),
    /// One that others write to at the same time.
    Shared(&'a T),
}

/// A stripe that no other thread writes to, for as long as this one lives.
pub(crate) struct Own<'a, T> {
    stripe: &'a T,
    /// Not to be sent to another thread.
    here: PhantomData<*const ()>,
}

impl<T> Own<'_, T> {
    #[inline]
    pub(crate) fn get(&self) -> &T {
        self.stripe
    }
}

impl<T: Default> Striped<T> {
    pub(crate) fn new() -> Self {
        Self { near: Default::default(), far: OnceLock::new(), shared: OnceLock::new() }
    }

    /// The stripe of this thread.
    #[inline]
    pub(crate) fn mine(&self) -> Stripe<'_, T> {
        self.own().map_or_else(|| self.mine_at_first(), Stripe::Own)
    }

    /// The stripe that this thread owns, if it has written to it before.
    #[inline]
    pub(crate) fn own(&self) -> Option<Own<'_, T>> {
        let stripe = self.existing(slot::mine())?;
        Some(Own { stripe, here: PhantomData })
    }

    /// All stripes that were written to.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let far = self.far.get().into_iter().flatten();
        let made = self.near.iter().chain(far).chain([&self.shared]).filter_map(OnceLock::get);
        made.map(Box::as_ref)
    }

    #[inline]
    fn existing(&self, slot: Slot) -> Option<&T> {
        match self.near.get(slot.number()) {
            Some(stripe) => stripe.get(),
            None => self.far.get()?.get(slot.number() - NEAR)?.get(),
        }
        .map(Box::as_ref)
    }

    #[cold]
    fn mine_at_first(&self) -> Stripe<'_, T> {
        let Some(slot) = slot::claim() else {
            return Stripe::Shared(self.shared.get_or_init(Box::default));
        };
        let far = || self.far.get_or_init(|| (NEAR..SLOTS).map(|_| OnceLock::new()).collect());
        let place = self.near.get(slot.number()).or_else(|| far().get(slot.number() - NEAR));
        place.unwrap_or(&self.shared).get_or_init(Box::default);
        self.own().map_or_else(|| Stripe::Shared(self.shared.get_or_init(Box::default)), Stripe::Own)
    }
}

impl<T: Default> Default for Striped<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
