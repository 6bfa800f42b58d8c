//! Several managers in one process, over one store.

mod fleet;
mod leaving;
mod merging;
