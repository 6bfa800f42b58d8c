//! Points in the history of a service, as they are named on the command line.

use crate::clock;
use cofferdam_proto::v1;
use cofferdam_proto::v1::revision_point::Point;
use std::str::FromStr;
use std::time::SystemTime;

/// A revision, a time of day, or so long ago: `18`, `2026-11-22T03:00:00Z`, `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The last revision of this number.
    Revision(u64),
    /// A time.
    Time(SystemTime),
}

impl Moment {
    /// As a request has it.
    pub(super) fn to_wire(self) -> v1::RevisionPoint {
        let point = match self {
            Self::Revision(revision) => Point::Revision(v1::Revision { epoch: 0, revision }),
            Self::Time(time) => Point::Time(time.into()),
        };
        v1::RevisionPoint { point: Some(point) }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(revision) = text.parse() {
            return Ok(Self::Revision(revision));
        }
        time(text).map(Self::Time).map_err(|_| {
            "must be a revision such as 18, a time such as 2026-11-22T03:00:00Z, or how long ago: 10m".to_owned()
        })
    }
}

/// Reads a time of day, or how long ago it was.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        // A system time goes far below 1970 here, and nothing was registered then.
        let at = clock::now().checked_sub(ago).filter(|at| *at >= SystemTime::UNIX_EPOCH);
        return at.ok_or_else(|| "is too long ago".to_owned());
    }
    humantime::parse_rfc3339(text)
        .map_err(|_| "must be a time such as 2026-11-22T03:00:00Z, or how long ago: 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_one_of_day_or_so_long_ago() {
        let at = time("2026-11-22T03:00:00Z").unwrap();
        assert_eq!(at.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::from_secs(1_795_316_400));
        assert!(time("10m").unwrap() <= clock::now() - Duration::from_secs(600));
        assert!(time("yesterday").unwrap_err().contains("10m"));
        assert_eq!(time("99999999y").unwrap_err(), "is too long ago");
        assert_eq!(time("60y").unwrap_err(), "is too long ago");
    }

    #[test]
    fn a_number_is_a_revision() {
        assert_eq!("18".parse(), Ok(Moment::Revision(18)));
        assert!(matches!("10m".parse(), Ok(Moment::Time(_))));
        assert!("v18".parse::<Moment>().unwrap_err().contains("18"));
    }
}
