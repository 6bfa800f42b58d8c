//! What a follower puts in force: the newest only, and never an older one.

use super::{Position, Violation, Witness};

/// Whether a follower of a service has put in force what it should have, in the order in which it should have. It may skip
/// any but the newest.
///
/// # Errors
///
/// All that it should not have done, or has not done.
pub fn check_follower(service: &str, applied: &[Position], witness: &Witness) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    let mut had = Position::default();
    for applied in applied.iter().copied() {
        if applied <= had {
            violations.push(Violation::AppliedOlder { had, applied });
        }
        if witness.at(service, applied).is_none() {
            violations.push(Violation::AppliedPhantom { applied });
        }
        had = had.max(applied);
    }
    let at = applied.last().copied();
    match witness.newest(service) {
        Some(newest) if at != Some(newest) => violations.push(Violation::LeftBehind { at, newest }),
        _ => {}
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}
