//! What is to be said of a cluster that answers: members that do not, alarms, a database that is nearly full, releases
//! with a defect that a manager would suffer from.
//!
//! All of it is in what a member says of itself, for which any user that can log in may ask.

use etcd_client::StatusResponse;

use super::{
    failure::{Failure, MAKE_ROOM},
    session::{Session, report},
};
use crate::store::{Concern, StoreError};

/// How much of its quota a database may take until it is mentioned, in percent.
const FULL_PERCENT: i64 = 80;

/// What to use, and what is said so in the documentation.
const RECOMMENDED: &str = "use 3.5.30, 3.6.11 or later";

pub(super) async fn concerns(session: &Session) -> Result<Vec<Concern>, StoreError> {
    let answers = session.on_each(|client| async move { Ok(client.maintenance_client().status().await?) }).await;
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        let failure = answers.into_iter().find_map(|(_, answer)| answer.err());
        return Err(report(failure.unwrap_or_else(|| Failure::NotSent("there is no member".to_owned()))));
    }
    let mut concerns: Vec<_> = answers.iter().flat_map(|(member, answer)| of_member(member, answer)).collect();
    // An alarm is the cluster's: each member tells of it.
    concerns.sort();
    concerns.dedup();
    Ok(concerns)
}

fn of_member(member: &str, answer: &Result<StatusResponse, Failure>) -> Vec<Concern> {
    let mention = |what: String| Concern { what, refuses_writes: false };
    let Ok(status) = answer else {
        return vec![mention(format!("etcd member {member} does not answer"))];
    };
    let mut concerns: Vec<_> = status.errors().iter().map(|error| of_error(member, error)).collect();
    let version = status.version();
    if repeats_the_past(version) {
        concerns.push(mention(format!(
            "etcd member {member} is of release {version}, whose watches may bring old events again after a partition: {RECOMMENDED}"
        )));
    }
    // Releases before 3.6 do not tell their quota.
    let quota = status.db_size_quota();
    if quota > 0 && status.db_size() > quota / 100 * FULL_PERCENT {
        concerns.push(mention(format!(
            "the database of etcd member {member} takes more than {FULL_PERCENT} % of its quota of {quota} bytes: {MAKE_ROOM}"
        )));
    }
    concerns
}

fn of_error(member: &str, error: &str) -> Concern {
    if error.contains("alarm:NOSPACE") {
        let what = format!("etcd has raised its alarm NOSPACE and takes no writes: {MAKE_ROOM}");
        Concern { what, refuses_writes: true }
    } else if error.contains("alarm:CORRUPT") {
        let what = "etcd has raised its alarm CORRUPT and takes no writes, as its members differ in what they hold: \
                    replace the member that is wrong"
            .to_owned();
        Concern { what, refuses_writes: true }
    } else {
        Concern { what: format!("etcd member {member} says: {error}"), refuses_writes: false }
    }
}

/// Whether a release has the defect that etcd mended in 3.5.22 and 3.6.2 (etcd-io/etcd#20221).
///
/// A watch drops what it has seen before, so such a member does no harm as far as we know; a release that old also lacks
/// what was found since.
fn repeats_the_past(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(3), Some(minor), patch) => match (minor, patch.unwrap_or(0)) {
            (0..=4, _) => true,
            (5, patch) => patch < 22,
            (6, patch) => patch < 2,
            _ => false,
        },
        (Some(major), ..) => major < 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_releases_are_told_from_mended_ones() {
        for old in ["2.3.8", "3.4.23", "3.5.0", "3.5.21", "3.6.0", "3.6.1", "3.6.0-rc.0", "3.5"] {
            assert!(repeats_the_past(old), "{old}");
        }
        for mended in ["3.5.22", "3.5.30", "3.6.2", "3.6.16", "3.7.0-beta.0", "4.0.0", "not decided", ""] {
            assert!(!repeats_the_past(mended), "{mended}");
        }
    }

    #[test]
    fn alarms_stop_writes_and_other_errors_are_passed_on() {
        assert!(of_error("a", "memberID:12 alarm:NOSPACE ").refuses_writes);
        assert!(of_error("a", "memberID:12 alarm:CORRUPT ").refuses_writes);
        let other = of_error("a:2379", "etcdserver: no leader");
        assert!(
            !other.refuses_writes && other.what.contains("a:2379") && other.what.contains("no leader"),
            "{other:?}"
        );
    }
}
