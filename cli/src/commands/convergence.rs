//! How far a policy has come, in words: what `wait`, `--wait`, `check` and `describe` say of it.

use super::Error;
use super::session::{Session, lacks};
use crate::client::CallError;
use crate::message::short_name;
use crate::output::{age, say, std_duration};
use cofferdam_proto::v1;
use cofferdam_proto::v1::wait_for_convergence_request::Quorum;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for instances by default.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How much longer than the wait itself its answer may take: when that is over, the manager asks the others a last time.
const GRACE: Duration = Duration::from_secs(5);

/// The same where the time for both is limited: as long as a manager waits for others by default, and some more.
const LAST_LOOK: Duration = Duration::from_millis(2_500);

/// For how long a manager that has just started does not know all of its instances yet.
const SETTLING: Duration = Duration::from_secs(10);

/// How many instances are enough: `3`, or `80%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enough {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl FromStr for Enough {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        match digits.parse() {
            Ok(share @ 1..=100) if percent => Ok(Self::Percent(share)),
            Ok(count @ 1..) if !percent => Ok(Self::Count(count)),
            _ => Err("must be a number of instances, such as 3, or a share of them, such as 80%"),
        }
    }
}

/// What a wait came to.
pub(super) struct Waited {
    /// What was answered.
    pub(super) answer: v1::WaitForConvergenceResponse,
    /// How long it took.
    pub(super) took: Duration,
}

/// Of what a revision is to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The policy.
    Policy,
    /// Orders alone, with whatever policy is handed out.
    Orders,
}

/// Waits until enough instances have a revision of a service in force, which stands as it was `seen` to.
pub(super) async fn wait(
    session: &Session<'_>,
    (namespace, service): (String, String),
    seen: v1::Convergence,
    revision: Option<v1::Revision>,
    subject: Subject,
    enough: Option<Enough>,
) -> Result<Waited, Error> {
    let left = session.client.time_left();
    let within = left.map_or(PATIENCE, |left| left.saturating_sub(LAST_LOOK.min(left / 4)));
    let request = v1::WaitForConvergenceRequest {
        namespace,
        service,
        revision,
        quorum: enough.map(|enough| match enough {
            Enough::Count(count) => Quorum::Count(count),
            Enough::Percent(percent) => Quorum::Percent(percent),
        }),
        timeout: within.try_into().ok(),
        orders_only: subject == Subject::Orders,
        ..Default::default()
    };
    let began = Instant::now();
    let answer = match session.client.call_within(request, within + GRACE).await {
        // The time is over, and what was seen last is not enough.
        Err(CallError::NoAnswer { .. }) if left.is_some() => {
            v1::WaitForConvergenceResponse { reached: false, convergence: Some(seen) }
        }
        answer => answer?,
    };
    Ok(Waited { answer, took: began.elapsed() })
}

/// How far the policy of a service has come, or those of a namespace where none is named.
pub(super) async fn look(
    session: &Session<'_>,
    (namespace, service): (String, String),
) -> Result<v1::Convergence, CallError> {
    let request = v1::GetConvergenceRequest { namespace, service, ..Default::default() };
    Ok(session.client.call(request).await?.convergence.unwrap_or_default())
}

/// Whether nobody uses the service, or any of the namespace where none is named, as far as a manager that has been there
/// for a while can tell.
pub(super) fn is_unused(convergence: &v1::Convergence) -> bool {
    let is_settled = std_duration(convergence.observed_for).is_some_and(|observed| observed >= SETTLING);
    let instances: u32 = convergence.services.iter().map(|service| service.instances).sum();
    // Of a namespace, services that are done are only counted.
    let is_used = instances > 0 || convergence.converged_services > 0;
    !is_used && is_settled && convergence.unreachable_managers.is_empty()
}

/// `applied by 3/4`.
pub(super) fn applied(convergence: &v1::Convergence) -> String {
    let (applied, instances) = counts(convergence);
    format!("applied by {applied}/{instances}")
}

/// How many instances have it, of how many.
pub(super) fn counts(convergence: &v1::Convergence) -> (u32, u32) {
    let sum = |count: fn(&v1::ServiceConvergence) -> u32| convergence.services.iter().map(count).sum();
    (sum(|service| service.applied), sum(|service| service.instances))
}

/// Says who is missing and why, a line each.
pub(super) fn say_missing(convergence: &v1::Convergence) {
    lacks(convergence.stale_for, &convergence.unreachable_managers).iter().for_each(|lack| say(lack));
    settling(convergence).iter().for_each(|line| say(line));
    for service in &convergence.services {
        service.laggards.iter().for_each(|one| say(&format!("  {}", laggard(one))));
        if service.laggards_left_out > 0 {
            say(&format!("  and {} more", service.laggards_left_out));
        }
        if let Some(containment) = &service.containment {
            say(&format!("  contained: {}", containment.reason));
        }
    }
}

/// Why those that there are may not be all. `None`: the manager has been there for long enough.
fn settling(convergence: &v1::Convergence) -> Option<String> {
    let observed = std_duration(convergence.observed_for).filter(|observed| *observed < SETTLING)?;
    let ago = humantime::format_duration(Duration::from_secs(observed.as_secs()));
    Some(format!("the manager started {ago} ago: more instances may yet come, and nothing is sure before {SETTLING:?}"))
}

/// Where an instance stands, in a line.
pub(super) fn laggard(laggard: &v1::Laggard) -> String {
    let state = short_name(laggard.state().as_str_name(), "INSTANCE_SYNC_STATE_");
    let on = match laggard.applied_revision {
        Some(revision) => format!("has revision {}", revision.revision),
        None => "has nothing".to_owned(),
    };
    let since = match age(std_duration(laggard.age)).as_str() {
        "" => String::new(),
        age => format!(" for {age}"),
    };
    let field = if laggard.field_path.is_empty() { String::new() } else { format!("{}: ", laggard.field_path) };
    let reason = if laggard.reason.is_empty() { String::new() } else { format!(", {field}{}", laggard.reason) };
    format!("{} {state}{since}, {on}{reason}", laggard.instance_id)
}

/// That a policy is contained, and what is handed out in its place, in a line.
pub(super) fn contained(containment: &v1::Containment) -> String {
    let since = age(std_duration(containment.age));
    let in_place =
        containment.in_place.map_or_else(|| "nothing".to_owned(), |one| format!("revision {}", one.revision));
    // Instances say so themselves.
    let reason = containment.reason.strip_prefix("contained: ").unwrap_or(&containment.reason);
    format!("for {since}, {in_place} in its place: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containment_says_what_is_in_its_place() {
        let mut containment = v1::Containment {
            in_place: Some(v1::Revision { epoch: 1, revision: 7 }),
            reason: "contained: the policy rejected 60 % of 50 decisions".to_owned(),
            age: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
            ..Default::default()
        };
        let said = "for 3s, revision 7 in its place: the policy rejected 60 % of 50 decisions";
        assert_eq!(contained(&containment), said);
        containment.in_place = None;
        assert!(contained(&containment).contains("nothing in its place"));
    }

    #[test]
    fn enough_is_a_number_or_a_share() {
        assert_eq!("3".parse(), Ok(Enough::Count(3)));
        assert_eq!("80%".parse(), Ok(Enough::Percent(80)));
        for text in ["", "0", "0%", "101%", "-1", "all", "%"] {
            assert!(text.parse::<Enough>().is_err(), "{text:?}");
        }
    }

    /// Before, it said that all had it in force, and ended as if some had not.
    #[test]
    fn a_manager_that_has_just_started_says_that_more_may_come() {
        let after = |seconds| v1::Convergence {
            observed_for: Some(prost_types::Duration { seconds, nanos: 5 }),
            ..Default::default()
        };
        let told = "the manager started 3s ago: more instances may yet come, and nothing is sure before 10s";
        assert_eq!(settling(&after(3)).as_deref(), Some(told));
        assert_eq!((settling(&after(10)), settling(&v1::Convergence::default())), (None, None));
    }

    #[test]
    fn who_is_missing_is_told_with_the_reason() {
        let one = v1::Laggard {
            instance_id: "pay-3".into(),
            state: v1::InstanceSyncState::Refused.into(),
            applied_revision: Some(v1::Revision { epoch: 1, revision: 19 }),
            reason: "must be at most 10".into(),
            field_path: "retry.max_attempts".into(),
            age: Some(prost_types::Duration { seconds: 42, nanos: 0 }),
            ..Default::default()
        };
        assert_eq!(laggard(&one), "pay-3 refused for 42s, has revision 19, retry.max_attempts: must be at most 10");
        let silent = v1::Laggard { state: v1::InstanceSyncState::Silent.into(), ..Default::default() };
        assert_eq!(laggard(&v1::Laggard { instance_id: "a".into(), ..silent }), "a silent, has nothing");
    }
}
