//! Where a panic ends that is none of the caller's business.
//!
//! What keeps a process in step with its manager runs code that is not ours: the application's log, the wakers of whoever
//! listens to events. It must not end because of a bug of theirs, nor of ours: a process that hears of no policy any
//! more, and says so nowhere, is worse off than one that refuses one.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Some work panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    /// What it said of it.
    pub(crate) message: String,
}

impl Panicked {
    /// Of what a panic left.
    pub(crate) fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { message: text.unwrap_or("it said nothing").to_owned() }
    }
}

/// Does some work that may panic.
pub(crate) fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked::new(&*payload))
}

/// Tells somebody of something: what that does to them is no matter of ours.
pub(crate) fn tell(telling: impl FnOnce()) {
    // There is nobody left to tell of it, and the panic's hook has been heard.
    let _ = unless_it_panics(telling);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_its_words_are_kept() {
        let words = |work: fn()| unless_it_panics(work).unwrap_err().message;
        assert_eq!(words(|| panic!("bad policy")), "bad policy");
        assert_eq!(words(|| panic!("bad {}", 7)), "bad 7");
        assert_eq!(words(|| std::panic::panic_any(7)), "it said nothing");
        assert_eq!(unless_it_panics(|| 7), Ok(7));
        tell(|| panic!("unheard"));
    }
}
