//! The one place where the operator's commands read the time of day.

use std::time::SystemTime;

/// Now, by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "the crate's one clock module")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
