use crate::level::{Level, LevelChoice};
use cofferdam_proto::v1;

/// The number is no level of this release's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an isolation level, 1 (none) to 4 (full) or 5 (auto), not {0}")]
pub struct UnknownLevelNumber(pub i32);

/// The level that a message's number stands for; `None` where it is unset.
///
/// # Errors
///
/// [`UnknownLevelNumber`] where the contract has no such number.
pub fn level_from_wire(number: i32) -> Result<Option<LevelChoice>, UnknownLevelNumber> {
    let level = match v1::IsolationLevel::try_from(number) {
        Ok(v1::IsolationLevel::Unspecified) => return Ok(None),
        Ok(v1::IsolationLevel::Auto) => return Ok(Some(LevelChoice::Auto)),
        Ok(v1::IsolationLevel::None) => Level::None,
        Ok(v1::IsolationLevel::Basic) => Level::Basic,
        Ok(v1::IsolationLevel::Enhanced) => Level::Enhanced,
        Ok(v1::IsolationLevel::Full) => Level::Full,
        Err(_) => return Err(UnknownLevelNumber(number)),
    };
    Ok(Some(LevelChoice::Fixed(level)))
}

/// A level as messages say it: one that is in force, or what a policy says of it.
pub fn level_to_wire(level: impl Into<LevelChoice>) -> v1::IsolationLevel {
    match level.into() {
        LevelChoice::Auto => v1::IsolationLevel::Auto,
        LevelChoice::Fixed(Level::None) => v1::IsolationLevel::None,
        LevelChoice::Fixed(Level::Basic) => v1::IsolationLevel::Basic,
        LevelChoice::Fixed(Level::Enhanced) => v1::IsolationLevel::Enhanced,
        LevelChoice::Fixed(Level::Full) => v1::IsolationLevel::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip_and_nothing_else_is_one() {
        for level in Level::ALL {
            assert_eq!(level_from_wire(level_to_wire(level).into()), Ok(Some(LevelChoice::Fixed(level))));
        }
        assert_eq!(level_from_wire(level_to_wire(LevelChoice::Auto).into()), Ok(Some(LevelChoice::Auto)));
        assert_eq!(level_from_wire(0), Ok(None));
        for number in [-1, 6, i32::MIN, i32::MAX] {
            assert_eq!(level_from_wire(number), Err(UnknownLevelNumber(number)));
        }
    }
}
