//! Several managers in one process, over one store.

mod events;
mod fleet;
mod leaving;
mod merging;
