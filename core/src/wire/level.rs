use crate::level::Level;
use cofferdam_proto::v1;

/// The number is no level of this release's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an isolation level, 1 (none) to 4 (full), not {0}")]
pub struct UnknownLevelNumber(pub i32);

/// The level that a message's number stands for; `None` where it is unset.
///
/// # Errors
///
/// [`UnknownLevelNumber`] where the contract has no such number.
pub fn level_from_wire(number: i32) -> Result<Option<Level>, UnknownLevelNumber> {
    match v1::IsolationLevel::try_from(number) {
        Ok(v1::IsolationLevel::Unspecified) => Ok(None),
        Ok(v1::IsolationLevel::None) => Ok(Some(Level::None)),
        Ok(v1::IsolationLevel::Basic) => Ok(Some(Level::Basic)),
        Ok(v1::IsolationLevel::Enhanced) => Ok(Some(Level::Enhanced)),
        Ok(v1::IsolationLevel::Full) => Ok(Some(Level::Full)),
        Err(_) => Err(UnknownLevelNumber(number)),
    }
}

/// A level as messages say it.
pub const fn level_to_wire(level: Level) -> v1::IsolationLevel {
    match level {
        Level::None => v1::IsolationLevel::None,
        Level::Basic => v1::IsolationLevel::Basic,
        Level::Enhanced => v1::IsolationLevel::Enhanced,
        Level::Full => v1::IsolationLevel::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip_and_nothing_else_is_one() {
        for level in Level::ALL {
            assert_eq!(level_from_wire(level_to_wire(level).into()), Ok(Some(level)));
        }
        assert_eq!(level_from_wire(0), Ok(None));
        for number in [-1, 5, i32::MIN, i32::MAX] {
            assert_eq!(level_from_wire(number), Err(UnknownLevelNumber(number)));
        }
    }
}
