//! Points in the history of a service, as they are named on the command line.
//!
//! A revision is a number that grows with every write of a store, and that goes on from an older one where the store was
//! restored: the same number may then stand for two states, which the epoch tells apart. Where there is but one epoch, nobody
//! has to know of it; where there are several, it is printed and asked for.

use super::Error;
use super::session::{ServiceName, Session};
use crate::client::CallError;
use crate::clock;
use cofferdam_proto::v1;
use cofferdam_proto::v1::revision_point::Point;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A revision, a time of day, or so long ago: `18`, `7.18`, `2026-11-22T03:00:00Z`, `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A revision. Its epoch is zero where it is not said.
    Revision(v1::Revision),
    /// A time.
    Time(SystemTime),
}

impl Moment {
    /// As a request has it that is about many services.
    pub(super) fn to_wire(self) -> v1::RevisionPoint {
        let point = match self {
            Self::Revision(revision) => Point::Revision(revision),
            Self::Time(time) => Point::Time(time.into()),
        };
        v1::RevisionPoint { point: Some(point) }
    }

    /// As a request has it that is about one service.
    ///
    /// # Errors
    ///
    /// As [`certain`].
    pub(super) async fn of(self, service: &ServiceName, session: &Session<'_>) -> Result<v1::RevisionPoint, Error> {
        Ok(match self {
            Self::Revision(revision) => Self::Revision(certain(revision, service, session).await?).to_wire(),
            Self::Time(_) => self.to_wire(),
        })
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(revision) = revision(text) {
            return Ok(Self::Revision(revision));
        }
        time(text).map(Self::Time).map_err(|_| {
            "must be a revision such as 18 or 7.18, a time such as 2026-11-22T03:00:00Z, or how long ago: 10m"
                .to_owned()
        })
    }
}

/// Reads a revision: `18`, or with its epoch `7.18`. An epoch that is not said is zero.
pub(super) fn revision(text: &str) -> Result<v1::Revision, String> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let found = match text.split_once('.') {
        None => number(text).map(|revision| v1::Revision { epoch: 0, revision }),
        Some((epoch, revision)) => number(epoch)
            .filter(|epoch| *epoch > 0)
            .zip(number(revision))
            .map(|(epoch, revision)| v1::Revision { epoch, revision }),
    };
    found.ok_or_else(|| "must be a revision such as 18, or with its epoch 7.18".to_owned())
}

/// A revision without its epoch, where that goes without saying. Empty: there is none.
pub(super) fn number(revision: Option<&v1::Revision>) -> String {
    revision.map(|revision| revision.revision.to_string()).unwrap_or_default()
}

/// A revision with its epoch: `7.18`. Empty: there is none.
pub(super) fn full(revision: Option<&v1::Revision>) -> String {
    revision.map(|revision| format!("{}.{}", revision.epoch, revision.revision)).unwrap_or_default()
}

/// How revisions that stand together are written: with their epochs, where those differ.
pub(super) fn written<'a>(together: impl IntoIterator<Item = &'a v1::Revision>) -> fn(Option<&v1::Revision>) -> String {
    let mut epochs = together.into_iter().map(|revision| revision.epoch);
    let first = epochs.next();
    if epochs.any(|epoch| Some(epoch) != first) { full } else { number }
}

/// The revision that a number stands for, where it stands for one.
///
/// # Errors
///
/// The number stands for several states of the service, from before a restore of the store and after it.
pub(super) async fn certain(
    revision: v1::Revision,
    service: &ServiceName,
    session: &Session<'_>,
) -> Result<v1::Revision, Error> {
    if revision.epoch != 0 {
        return Ok(revision);
    }
    let (namespace, name) = session.place(service);
    let shown = session.shown(&namespace, &name);
    let request = v1::ListRevisionsRequest { namespace, service: name, page_size: KEPT, ..Default::default() };
    let listed = match session.client.call(request).await {
        Ok(listed) => listed.revisions,
        // What is asked for next says so in its own words.
        Err(CallError::Refused(_)) => return Ok(revision),
        Err(error) => return Err(error.into()),
    };
    match ambiguity(revision, &listed) {
        None => Ok(revision),
        Some(named) => Err(Error::usage(
            format!("revision {} of {shown} is {named}: the store was restored in between", revision.revision),
            format!("cofferdam history {shown}, and one of them with its epoch"),
        )),
    }
}

/// The most revisions of a page; fewer are kept of a service.
const KEPT: i32 = 100;

/// `2.8 or 1.8`. `None`: the number stands for one state, or for none.
fn ambiguity(revision: v1::Revision, listed: &[v1::ServiceRevision]) -> Option<String> {
    let same =
        listed.iter().filter_map(|change| change.revision.as_ref()).filter(|one| one.revision == revision.revision);
    let named: Vec<_> = same.map(|one| full(Some(one))).collect();
    (named.len() > 1).then(|| named.join(" or "))
}

/// Reads a time of day, or how long ago it was.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        // A system time goes far below 1970 here, and nothing was registered then.
        let at = clock::now().checked_sub(ago).filter(|at| *at >= SystemTime::UNIX_EPOCH);
        return at.ok_or_else(|| "is too long ago".to_owned());
    }
    // Without a zone, it could be that of whoever types it.
    let day = of_day(text).filter(|_| text.ends_with(['Z', 'z']) || offset(text).is_some());
    day.ok_or_else(|| "must be a time such as 2026-11-22T03:00:00Z, or how long ago: 10m".to_owned())
}

/// Reads a time of day by RFC 3339: `2026-11-22T03:00:00Z`, or `2026-11-22T05:00:00+02:00`. `None`: it is none, or lies
/// before 1970.
pub(in crate::commands) fn of_day(text: &str) -> Option<SystemTime> {
    let Some((local, zone)) = offset(text) else {
        return humantime::parse_rfc3339_weak(text).ok();
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let part = |text: &str, most: u64| text.parse::<u64>().ok().filter(|part| text.len() == 2 && *part <= most);
    let offset = Duration::from_secs(part(hours, 23)? * 3_600 + part(minutes, 59)? * 60);
    let local = Some(local).filter(|local| !local.ends_with('Z'))?;
    let local = humantime::parse_rfc3339_weak(local).ok()?;
    let at = if zone.starts_with('+') { local.checked_sub(offset) } else { local.checked_add(offset) };
    at.filter(|at| *at >= SystemTime::UNIX_EPOCH)
}

/// A time in two parts where it ends with an offset: `2026-11-22T05:00:00` and `+02:00`.
fn offset(text: &str) -> Option<(&str, &str)> {
    let parts = text.len().checked_sub("+02:00".len()).and_then(|at| text.split_at_checked(at));
    parts.filter(|(_, zone)| zone.starts_with(['+', '-']) && zone.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_of_day_or_so_long_ago() {
        let at = time("2026-11-22T03:00:00Z").unwrap();
        assert_eq!(at.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::from_secs(1_795_316_400));
        assert!(time("10m").unwrap() <= clock::now() - Duration::from_secs(600));
        assert!(time("yesterday").unwrap_err().contains("10m"));
        assert!(time("2026-11-22 03:00:00").is_err(), "whose clock is it?");
        assert_eq!(time("99999999y").unwrap_err(), "is too long ago");
        assert_eq!(time("60y").unwrap_err(), "is too long ago");
    }

    #[test]
    fn a_number_is_a_revision() {
        let revision = |epoch, revision| Ok(Moment::Revision(v1::Revision { epoch, revision }));
        assert_eq!("18".parse(), revision(0, 18));
        assert_eq!("7.18".parse(), revision(7, 18));
        for text in ["0.18", "7.", ".18", "+7", "7.1.8"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        assert!(matches!("10m".parse(), Ok(Moment::Time(_))));
        assert!("v18".parse::<Moment>().unwrap_err().contains("18"));
    }

    #[test]
    fn a_time_of_day_may_have_an_offset() {
        let at = of_day("2026-11-22T03:00:00Z");
        assert!(at.is_some());
        assert_eq!(of_day("2026-11-22T05:00:00+02:00"), at);
        assert_eq!(of_day("2026-11-21T21:30:00-05:30"), at);
        assert_eq!(of_day("2026-11-22 03:00:00"), at);
        for text in [
            "2026-11-22T05:00:00Z+02:00",
            "2026-11-22T05:00:00+2:00",
            "1970-01-01T00:00:00+01:00",
            "+02:00",
            "\u{e9}+02:00",
        ] {
            assert_eq!(of_day(text), None, "{text}");
        }
    }

    /// Before, the newer of the two was taken without a word, and the older could not be named.
    #[test]
    fn a_number_that_stands_for_two_revisions_is_told_with_both() {
        let change = |epoch, revision| v1::ServiceRevision {
            revision: Some(v1::Revision { epoch, revision }),
            ..v1::ServiceRevision::default()
        };
        let listed = [change(2, 9), change(2, 8), change(1, 8), change(1, 7)];
        let bare = |revision| v1::Revision { epoch: 0, revision };
        assert_eq!(ambiguity(bare(8), &listed).as_deref(), Some("2.8 or 1.8"));
        assert_eq!((ambiguity(bare(9), &listed), ambiguity(bare(3), &listed)), (None, None));
        let revisions: Vec<_> = listed.iter().filter_map(|change| change.revision).collect();
        assert_eq!(written(&revisions)(revisions.first()), "2.9");
        assert_eq!(written(&revisions[..2])(revisions.first()), "9");
    }
}
