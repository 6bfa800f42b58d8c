//! What operators had ordered for a time, and what was over.
//!
//! It stays in the record of a service until the next write, which leaves it out, whoever makes it and whatever for.

use cofferdam_proto::storage::v1 as storage;
use prost_types::Timestamp;

use super::is_before;

/// A service without the holds and the level that had run out by a time.
pub(super) fn left_out(mut state: storage::ServiceRecord, time: &Timestamp) -> storage::ServiceRecord {
    let is_over = |end: Option<&Timestamp>| end.is_some_and(|end| is_before(end, time));
    if let Some(orders) = &mut state.orders {
        orders.holds.retain(|hold| !is_over(hold.expire_time.as_ref()));
        orders.temporary_level.take_if(|level| is_over(level.expire_time.as_ref()));
    }
    state
}
