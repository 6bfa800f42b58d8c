use super::AtomicU64;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;

thread_local! {
    // All threads of a model run on the one that checks it.
    static STATICS: RefCell<HashMap<&'static str, &'static AtomicU64>> = RefCell::default();
}

/// A static, by its name. Loom's own go before the last of a model's threads does, whose thread-locals may still use them
/// as they are taken down; these last for ever.
pub(crate) struct ProcessWide(pub(crate) &'static str);

impl ProcessWide {
    /// Begins a run of a model at zero: on its first thread, for a static is there before all threads are.
    pub(crate) fn begin(&self) {
        let beginning = Box::leak(Box::new(AtomicU64::new(0)));
        STATICS.with_borrow_mut(|statics| statics.insert(self.0, beginning));
    }
}

impl Deref for ProcessWide {
    type Target = AtomicU64;

    fn deref(&self) -> &AtomicU64 {
        STATICS.with_borrow(|statics| statics[self.0])
    }
}
