//! What a breaker can say, when it is asked, of why it keeps calls from a service.
//!
//! A rejection itself carries no more than fits into registers, for it has to cost next to nothing. All else is still there when
//! somebody wants to know: the breaker counts nothing while it is open, so its window is as it was when it opened.

use super::Isolation;
use super::part::Part;
use super::scope::OwnBreaker;
use crate::breaker::{OpenedBy, State};
use crate::revision::Revision;
use crate::time::Timestamp;
use std::fmt;
use std::time::Duration;

/// Where the breaker stands that a call meets, and why.
///
/// As text it is one line of `key=value`, which people read and `cofferdam explain --receipt` takes:
/// `breaker=service state=open by=rules revision=1795316400000.12 failed=8/10 open_for=4.2s retry_after=25.8s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerReceipt {
    /// The part of the service whose breaker it is.
    pub part: Part,
    /// What it does with calls.
    pub state: State,
    /// On whose word.
    pub by: OpenedBy,
    /// The revision of the policy in force. `None`: the host's built-in default.
    pub revision: Option<Revision>,
    /// For how long its rules have it open. `None`: they do not.
    pub open_for: Option<Duration>,
    /// When it is worth asking again. `None`: now, or not before somebody changes the policy or releases the hold.
    pub retry_after: Option<Duration>,
    /// Calls that its window holds: of one that its rules have opened, as it was when it opened. The last failure of a row
    /// that is long enough opens before it is counted.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
}

impl Isolation {
    /// Where the breaker stands that a call of a method meets, in the pool that it names. `None`: no breaker is in force at
    /// this level.
    pub fn breaker_receipt(&self, method: &str, pool: Option<&str>, now: Timestamp) -> Option<BreakerReceipt> {
        let current = self.in_force();
        let scope = current.scope(method);
        if !scope.plan.has_breaker {
            return None;
        }
        Some(scope.lane(pool, method).breaker.receipt(current.revision, now))
    }
}

impl OwnBreaker {
    /// Where it stands under a revision of the policy.
    pub(crate) fn receipt(&self, revision: Option<Revision>, now: Timestamp) -> BreakerReceipt {
        let rejected = self.breaker.would_reject(now);
        let (open_since, (successes, failures)) = self.breaker.opened(now);
        BreakerReceipt {
            part: self.part.clone(),
            state: self.breaker.state(now),
            by: rejected.as_ref().map(|rejected| rejected.by.clone()).unwrap_or_default(),
            revision,
            open_for: open_since.map(|since| now.saturating_since(since)),
            retry_after: rejected.and_then(|rejected| rejected.retry_after),
            calls: successes.saturating_add(failures),
            failures,
        }
    }
}

impl fmt::Display for BreakerReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, state, by, revision, open_for, retry_after, calls, failures } = self;
        match part {
            Part::Service => f.write_str("breaker=service")?,
            Part::Pool(name) => write!(f, "breaker=pool pool={name}")?,
            Part::Methods(glob) => write!(f, "breaker=methods methods={glob:?}")?,
        }
        write!(f, " state={state}")?;
        match by {
            OpenedBy::Rules => f.write_str(" by=rules")?,
            OpenedBy::Policy => f.write_str(" by=policy")?,
            OpenedBy::Hold(hold) => write!(f, " by=hold owner={:?} reason={:?}", hold.owner(), hold.reason())?,
        }
        match revision {
            Some(Revision { epoch, revision }) => write!(f, " revision={epoch}.{revision}")?,
            None => f.write_str(" revision=built-in")?,
        }
        write!(f, " failed={failures}/{calls}")?;
        let millis = |time: &Duration| Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        if let Some(open_for) = open_for {
            write!(f, " open_for={:?}", millis(open_for))?;
        }
        if let Some(retry_after) = retry_after {
            write!(f, " retry_after={:?}", millis(retry_after))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::{Forced, HoldSpec, Target};
    use crate::isolation::Unobserved;
    use crate::level::Level;
    use crate::outcome::Outcome;
    use crate::policy::{BreakerPolicy, BreakerWindow, Policy, PolicySpec};
    use crate::time::Clocks;
    use std::sync::Arc;

    fn isolation(breaker: BreakerPolicy) -> Isolation {
        let spec = PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() };
        let revision = Some(Revision { epoch: 7, revision: 12 });
        Isolation::new(Policy::new(spec).unwrap(), revision, Clocks::default(), Arc::new(Unobserved))
    }

    fn calls(isolation: &Isolation, outcomes: &[Outcome], now: Timestamp) {
        let current = isolation.in_force();
        let scope = current.scope("");
        for outcome in outcomes {
            let own = &scope.lane(None, "").breaker.breaker;
            let admitted = own.admit(&scope.policy.breaker, now, || 0).unwrap();
            admitted.admission.record(&scope.policy.breaker, *outcome, Duration::ZERO, now, || 0);
        }
    }

    #[test]
    fn a_breaker_that_has_opened_still_knows_what_it_opened_for() {
        for window in [BreakerWindow::default(), BreakerWindow::Count(20)] {
            // By the share of failures: a row of them opens before its last one is counted.
            let policy = BreakerPolicy {
                window,
                open_jitter_ratio: 0.0,
                consecutive_failures: 0,
                failure_rate: 0.6,
                minimum_calls: 8,
                ..BreakerPolicy::default()
            };
            let isolation = isolation(policy);
            let at = |seconds: u64| Timestamp::from_millis(3_600_000 + seconds * 1_000);
            calls(&isolation, &[Outcome::Success; 3], at(0));
            let closed = isolation.breaker_receipt("", None, at(0)).unwrap();
            assert_eq!(closed.to_string(), "breaker=service state=closed by=rules revision=7.12 failed=0/3");
            calls(&isolation, &[Outcome::Failure; 5], at(1));
            let open = isolation.breaker_receipt("", None, at(5)).unwrap();
            let expected = "breaker=service state=open by=rules revision=7.12 failed=5/8 open_for=4s retry_after=26s";
            assert_eq!(open.to_string(), expected, "{window:?}");
        }
    }

    #[test]
    fn a_hold_is_told_with_who_and_why() {
        let isolation = isolation(BreakerPolicy::default());
        let hold = HoldSpec {
            target: Target::All,
            forced: Forced::Open,
            since: Timestamp::ZERO,
            until: Some(Timestamp::from_millis(9_000)),
            owner: "ann".to_owned(),
            reason: "the disk is changed".to_owned(),
        };
        isolation.hold(hold, Timestamp::ZERO);
        let held = isolation.breaker_receipt("Get", None, Timestamp::from_millis(2_000)).unwrap();
        let expected = "breaker=service state=open by=hold owner=\"ann\" reason=\"the disk is changed\" revision=7.12 \
                        failed=0/0 retry_after=7s";
        assert_eq!(held.to_string(), expected);
    }

    #[test]
    fn without_a_breaker_there_is_none() {
        let basic = Policy::default();
        let isolation = Isolation::new(basic, None, Clocks::default(), Arc::new(Unobserved));
        assert_eq!(isolation.breaker_receipt("", None, Timestamp::ZERO), None);
    }
}
