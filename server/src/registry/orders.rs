//! What operators order for a service apart from its policy: holds over its breakers, and commands to them.
//!
//! Orders live in the record of the service. So an order is a new revision of it: one transaction, which is pushed,
//! acknowledged, waited for and remembered as any other change is. What has run out goes with the next write of the
//! service, whatever that is, and is never shown as in force until then.

use std::time::Duration;

use cofferdam_core::{
    hold::{MAX_OWNER_BYTES, MAX_REASON_BYTES, Target},
    isolation::Part,
    level::Section,
    orders::{Action, Aim, InvalidOrders, OPEN_DURATIONS, WrittenHold},
    policy::limits::MAX_HOLDS,
    time::WallTime,
    wire::{aim_from_wire, duration_from_wire, forced_from_wire},
};
use cofferdam_proto::v1;

use super::{
    Registered, Registry,
    asked::{Actor, Asked},
    change::{Draft, Terms},
    request_record::Request,
    validate::{Faults, target},
};
use crate::error::Error;

/// The longest time that anything is ordered for.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

impl Registry {
    /// Forces breakers of a service, in the place of the hold with the same target.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], [`Error::NoBreaker`],
    /// [`Error::QuotaExceeded`], and those of every write.
    pub async fn hold_breaker(
        &self,
        asked: impl Into<Asked<v1::HoldBreakerRequest>>,
    ) -> Result<v1::HoldBreakerResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/HoldBreaker", &request.request_id, &request)?;
        let key = target(&request.namespace, &request.service)?;
        let mut faults = Faults::default();
        let aim = ordered(&mut faults, aim_from_wire("target", request.target.as_ref()));
        let forced = ordered(&mut faults, forced_from_wire("forced", request.forced));
        let ttl = ttl(&mut faults, request.ttl);
        faults.words("owner", &request.owner, MAX_OWNER_BYTES);
        reason(&mut faults, &request.reason);
        let (Some(aim), Some(forced), true) = (aim, forced, faults.is_empty()) else { return Err(faults.into_error()) };
        let owner = if request.owner.is_empty() { name(&actor) } else { request.owner };
        let reason = request.reason.clone();
        let cause = self.cause(v1::ChangeKind::Held, actor, request.reason)?;
        let change = |before: &Registered, draft: &mut Draft, now: WallTime| {
            check_aim(before, &aim, now)?;
            let holds = &mut draft.orders.holds;
            let has_room = holds.len() < MAX_HOLDS;
            let until = ttl.map(|ttl| later(now, ttl));
            let (aim, owner, reason) = (aim.clone(), owner.clone(), reason.clone());
            let hold = WrittenHold { aim, forced, owner, reason, since: now, until };
            match holds.iter_mut().find(|known| known.aim == hold.aim) {
                Some(known) => {
                    // The clock of the manager that it began at may be ahead.
                    let since = if known.forced == forced { known.since.min(now) } else { now };
                    *known = WrittenHold { since, ..hold };
                }
                None if has_room => holds.push(hold),
                None => {
                    let (limit, remedy) = (MAX_HOLDS.to_string(), "release some");
                    return Err(Error::QuotaExceeded { quota: "holds", limit, remedy });
                }
            }
            Ok(())
        };
        self.change_service(&key, &identity, Terms::of_orders(request.expected_revision, cause), change).await
    }

    /// Ends the hold with a target.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], [`Error::HoldNotFound`], and those of
    /// every write.
    pub async fn release_breaker(
        &self,
        asked: impl Into<Asked<v1::ReleaseBreakerRequest>>,
    ) -> Result<v1::ReleaseBreakerResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/ReleaseBreaker", &request.request_id, &request)?;
        let key = target(&request.namespace, &request.service)?;
        let mut faults = Faults::default();
        let aim = ordered(&mut faults, aim_from_wire("target", request.target.as_ref()));
        reason(&mut faults, &request.reason);
        let (Some(aim), true) = (aim, faults.is_empty()) else { return Err(faults.into_error()) };
        let cause = self.cause(v1::ChangeKind::Released, actor, request.reason)?;
        let change = |before: &Registered, draft: &mut Draft, _: WallTime| {
            let holds = &mut draft.orders.holds;
            let Some(at) = holds.iter().position(|hold| hold.aim == aim) else {
                let holds = holds.iter().map(|hold| in_words(&hold.aim)).collect();
                return Err(Error::HoldNotFound { key: before.key().clone(), holds });
            };
            holds.remove(at);
            Ok(())
        };
        self.change_service(&key, &identity, Terms::of_orders(request.expected_revision, cause), change).await
    }

    /// Opens breakers of a service once.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], [`Error::NoBreaker`], and those of
    /// every write.
    pub async fn trip_breaker(
        &self,
        asked: impl Into<Asked<v1::TripBreakerRequest>>,
    ) -> Result<v1::TripBreakerResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/TripBreaker", &request.request_id, &request)?;
        let key = target(&request.namespace, &request.service)?;
        let mut faults = Faults::default();
        let aim = ordered(&mut faults, aim_from_wire("target", request.target.as_ref()));
        let open_for = request
            .open_duration
            .map(|time| duration_from_wire(time).ok().filter(|time| OPEN_DURATIONS.contains(time)));
        faults.require(open_for != Some(None), "open_duration", "must be in [1ms, 24h]");
        reason(&mut faults, &request.reason);
        let (Some(aim), true) = (aim, faults.is_empty()) else { return Err(faults.into_error()) };
        let action = Action::Trip(open_for.flatten());
        let command = command(aim, action, name(&actor), request.reason.clone());
        let cause = self.cause(v1::ChangeKind::Tripped, actor, request.reason)?;
        self.change_service(&key, &identity, Terms::of_orders(request.expected_revision, cause), command).await
    }

    /// Closes breakers of a service once.
    ///
    /// # Errors
    /// As [`trip_breaker`](Self::trip_breaker).
    pub async fn reset_breaker(
        &self,
        asked: impl Into<Asked<v1::ResetBreakerRequest>>,
    ) -> Result<v1::ResetBreakerResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/ResetBreaker", &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let mut faults = Faults::default();
        let aim = ordered(&mut faults, aim_from_wire("target", request.target.as_ref()));
        reason(&mut faults, &request.reason);
        let (Some(aim), true) = (aim, faults.is_empty()) else { return Err(faults.into_error()) };
        let command = command(aim, Action::Reset, name(&actor), request.reason.clone());
        let cause = self.cause(v1::ChangeKind::Reset, actor, request.reason)?;
        let change = |before: &Registered, draft: &mut Draft, now: WallTime| {
            draft.forgets_health = request.reset_health;
            command(before, draft, now)
        };
        self.change_service(&target, &identity, Terms::of_orders(request.expected_revision, cause), change).await
    }
}

/// Adds a command to the orders of a service that has the breakers.
fn command(
    aim: Aim,
    action: Action,
    actor: String,
    reason: String,
) -> impl Fn(&Registered, &mut Draft, WallTime) -> Result<(), Error> + Send + Sync {
    move |before, draft, now| {
        check_aim(before, &aim, now)?;
        draft.orders.command(aim.clone(), action, actor.clone(), reason.clone(), now);
        Ok(())
    }
}

/// How long something is ordered for. `None`: no time is given, or it is at fault.
pub(super) fn ttl(faults: &mut Faults, ttl: Option<prost_types::Duration>) -> Option<Duration> {
    let ttl = ttl.map(|ttl| duration_from_wire(ttl).ok().filter(|ttl| !ttl.is_zero() && *ttl <= MAX_TTL));
    faults.require(ttl != Some(None), "ttl", "must be above 0 and at most 7 d (604800s)");
    ttl.flatten()
}

/// Who orders something, for the orders to say.
pub(super) fn name(actor: &Actor) -> String {
    let name = actor.name();
    if name.is_empty() { "unknown" } else { name }.to_owned()
}

/// A time of day some time later.
pub(super) fn later(now: WallTime, after: Duration) -> WallTime {
    WallTime::after_1970(now.saturating_since(WallTime::after_1970(Duration::ZERO)).saturating_add(after))
}

fn ordered<T>(faults: &mut Faults, read: Result<T, InvalidOrders>) -> Option<T> {
    read.map_err(|InvalidOrders { path, description }| faults.add(path, description)).ok()
}

fn reason(faults: &mut Faults, reason: &str) {
    faults.require(!reason.is_empty(), "reason", "must be set: whoever meets it wants to know why");
    faults.words("reason", reason, MAX_REASON_BYTES);
}

/// Refuses to order something of breakers that are not there: nobody would notice that nothing happens.
fn check_aim(before: &Registered, aim: &Aim, now: WallTime) -> Result<(), Error> {
    let policy = before.policy_at(now);
    let refused = |named: Option<Part>| {
        let breakers = Part::with_own_breaker(&policy).iter().map(Part::to_string).collect();
        Error::NoBreaker { key: before.key().clone(), level: policy.level, named, breakers }
    };
    if !policy.level.enforces(Section::CircuitBreaker) {
        return Err(refused(None));
    }
    match &aim.breakers {
        Target::Part(part) if !Part::with_own_breaker(&policy).contains(part) => Err(refused(Some(part.clone()))),
        Target::Part(_) | Target::All => Ok(()),
    }
}

/// Whom an order is for, for people.
fn in_words(aim: &Aim) -> String {
    let Aim { breakers, instance_id } = aim;
    let breakers = match breakers {
        Target::All => "all".to_owned(),
        Target::Part(part) => part.to_string(),
    };
    instance_id.as_ref().map(|id| format!("{breakers} at {id}")).unwrap_or(breakers)
}
