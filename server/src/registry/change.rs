//! Changes to a service that is registered: its level, its fallback, any part of its policy, and what operators order
//! for it ([`orders`](super::orders)).
//!
//! They differ in what they do to the written policy and to the orders. The rest is one: expect a revision, check the
//! policy and its alternatives as a whole, write what differs.

use bytes::Bytes;
use cofferdam_core::{
    level::LevelChoice,
    name::ServiceKey,
    orders::{Orders, OrdersSpec, TemporaryLevel},
    time::WallTime,
    wire::{
        apply_fallback_config, apply_update, effective_policy, level_from_wire, level_to_wire, revision_from_wire,
        wall_time_from_wire,
    },
};
use cofferdam_proto::v1;
use prost::Message;
use prost_types::Timestamp;

use super::{
    Registered, Registry, Revision, alternatives,
    asked::{Actor, Asked},
    changes::{self, Cause},
    describe, key, nearest, orders, record,
    request_record::Request,
    transact::{Answer, Plan, View, delete, put},
    validate::{Faults, target},
};
use crate::{
    error::Error,
    store::{MAX_VALUE_BYTES, Op},
};

/// The largest written policy, in bytes: the largest static answer and 48 KiB for all the rest. So the answer to a
/// write, which shows the policy as written and as in force, can be kept with its request id in one value of the store.
const MAX_POLICY_BYTES: usize = 112 * 1024;

/// The largest record of a service, and the largest answer that shows one. Both become values of the store, with little
/// around them.
const MAX_SERVICE_BYTES: usize = MAX_VALUE_BYTES - 8 * 1024;

/// An answer that is the service as it is now.
pub(super) trait ServiceAnswer: Answer {
    fn of(service: v1::IsolatedService) -> Self;
}

macro_rules! service_answers {
    ($($answer:ident)*) => {$(
        impl Answer for v1::$answer {
            fn revision(&mut self) -> &mut Option<v1::Revision> {
                &mut self.service.get_or_insert_default().revision
            }
        }

        impl ServiceAnswer for v1::$answer {
            fn of(service: v1::IsolatedService) -> Self {
                Self { service: Some(service) }
            }
        }
    )*};
}

service_answers!(
    SetIsolationLevelResponse UpdateFallbackConfigResponse UpdateIsolationPolicyResponse
    HoldBreakerResponse ReleaseBreakerResponse TripBreakerResponse ResetBreakerResponse
);

/// What of a service is about to change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    /// The written policy.
    pub(super) policy: v1::IsolationPolicy,
    /// What is ordered apart from it, without what has run out.
    pub(super) orders: OrdersSpec,
    /// Whether the report of its health goes.
    pub(super) forgets_health: bool,
}

impl Registry {
    /// Changes the level of a service, or puts another in its place for a time.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], and those of every write.
    pub async fn set_level(
        &self,
        asked: impl Into<Asked<v1::SetIsolationLevelRequest>>,
    ) -> Result<v1::SetIsolationLevelResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/SetIsolationLevel", &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let mut faults = Faults::default();
        let level = level_from_wire(request.level).unwrap_or_else(|unknown| {
            faults.add("level", unknown.to_string());
            None
        });
        let is_said = level.is_some() || !faults.is_empty();
        faults.require(is_said, "level", "must be set: to none, basic, enhanced, full or auto");
        let ttl = orders::ttl(&mut faults, request.ttl);
        let temporary = level.and_then(LevelChoice::fixed).zip(ttl);
        let is_for_good = ttl.is_none() || temporary.is_some() || level.is_none();
        faults.require(is_for_good, "level", "must be none, basic, enhanced or full for a time: auto is for good");
        let (Some(level), true) = (level, faults.is_empty()) else { return Err(faults.into_error()) };
        let (who, reason) = (orders::name(&actor), request.reason.clone());
        let cause = self.cause(v1::ChangeKind::Level, actor, request.reason)?;
        let change = |_: &Registered, draft: &mut Draft, now: WallTime| {
            let until = |(level, ttl)| {
                let (actor, reason) = (who.clone(), reason.clone());
                TemporaryLevel { level, until: orders::later(now, ttl), actor, reason }
            };
            draft.orders.level = temporary.map(until);
            if temporary.is_none() {
                draft.policy.set_level(level_to_wire(level));
            }
            Ok(())
        };
        let terms = Terms { expected: request.expected_revision, field: Field::Policy, insist: false, cause };
        self.change_service(&target, &identity, terms, change).await
    }

    /// Changes the fallback of a service, and the retries and timeout around it.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], and those of every write.
    pub async fn update_fallback(
        &self,
        asked: impl Into<Asked<v1::UpdateFallbackConfigRequest>>,
    ) -> Result<v1::UpdateFallbackConfigResponse, Error> {
        let Asked { request, actor } = asked.into();
        let method = "/cofferdam.v1.IsolationService/UpdateFallbackConfig";
        let identity = Request::new(method, &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let cause = self.cause(v1::ChangeKind::Fallback, actor, request.reason)?;
        let fallback = request.fallback.ok_or_else(|| Error::invalid("fallback", "must be set"))?;
        let change = |_: &Registered, draft: &mut Draft, _: WallTime| {
            apply_fallback_config(&mut draft.policy, &fallback)
                .map_err(|invalid| Error::invalid_policy(&invalid, str::to_owned))
        };
        let terms = Terms { expected: request.expected_revision, field: Field::Fallback, insist: false, cause };
        self.change_service(&target, &identity, terms, change).await
    }

    /// Changes any part of the policy of a service.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::Invalid`], [`Error::RevisionMismatch`], and those of every write.
    pub async fn update_policy(
        &self,
        asked: impl Into<Asked<v1::UpdateIsolationPolicyRequest>>,
    ) -> Result<v1::UpdateIsolationPolicyResponse, Error> {
        let Asked { request, actor } = asked.into();
        let method = "/cofferdam.v1.IsolationService/UpdateIsolationPolicy";
        let identity = Request::new(method, &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let cause = self.cause(v1::ChangeKind::Policy, actor, request.reason)?;
        let patch = request.policy.ok_or_else(|| Error::invalid("policy", "must be set"))?;
        let change = |_: &Registered, draft: &mut Draft, _: WallTime| {
            apply_update(&mut draft.policy, &patch, request.update_mask.as_ref())
                .map_err(|invalid| Error::invalid_policy(&invalid, str::to_owned))
        };
        let insist = request.insist;
        let terms = Terms { expected: request.expected_revision, field: Field::Policy, insist, cause };
        self.change_service(&target, &identity, terms, change).await
    }

    /// Why something is about to change.
    pub(super) fn cause(&self, kind: v1::ChangeKind, actor: Actor, reason: String) -> Result<Cause, Error> {
        let manager_id = self.events().manager_id().to_owned();
        Cause::new(kind, actor, reason, Timestamp::from(self.shared.clock.now()), manager_id)
    }

    /// Changes the written policy of a service and its orders by `change`, which a field of the request says, or insists on
    /// the policy.
    pub(super) async fn change_service<A: ServiceAnswer>(
        &self,
        target: &ServiceKey,
        identity: &Request,
        terms: Terms,
        change: impl Fn(&Registered, &mut Draft, WallTime) -> Result<(), Error> + Send + Sync,
    ) -> Result<A, Error> {
        let Terms { expected, field, insist, cause } = terms;
        let plan = |view: &mut View<'_>| {
            let before = view.service(target).ok_or_else(|| nearest::not_found(view.catalog(), target))?;
            expect_revision(target, expected.map(revision_from_wire), Some(before))?;
            let mut draft = Draft {
                policy: before.written_policy().clone(),
                orders: before.orders().to_spec(),
                forgets_health: false,
            };
            let now = wall(&cause);
            draft.orders.prune(now);
            let as_it_was = draft.clone();
            change(before, &mut draft, now)?;
            let is_as_it_was = draft == as_it_was && (before.is_insisted() || !insist);
            let Draft { policy: written, orders, forgets_health } = draft;
            let place = |path: &str| field.place(path);
            let policy = effective_policy(&written).map_err(|invalid| Error::invalid_policy(&invalid, place))?;
            check_size(&written, field)?;
            let guard = alternatives::check(view, target, Some(before), &policy, place)?;
            if is_as_it_was && !view.catalog().is_poisoned(target) {
                return Ok(Plan { ops: Vec::new(), answer: A::of(describe(view.catalog(), before)) });
            }
            let orders = Some(Orders::new(orders).map_err(Error::invalid_orders)?);
            let written = Written { service: before.service().clone(), policy: written, insist, orders };
            let (mut ops, mut service) = written_service(view, target, Some(before), written, &cause)?;
            ops.extend(guard);
            if forgets_health {
                ops.push(delete(key::health(target)));
                service.reported_health = None;
            }
            Ok(Plan { ops, answer: A::of(service) })
        };
        self.shared.transact(target, identity, Some(&cause), plan).await
    }
}

/// What a change of a service is made under.
#[derive(Debug)]
pub(super) struct Terms {
    expected: Option<v1::Revision>,
    field: Field,
    insist: bool,
    cause: Cause,
}

impl Terms {
    /// Of a change that leaves the policy as it is.
    pub(super) fn of_orders(expected: Option<v1::Revision>, cause: Cause) -> Self {
        Self { expected, field: Field::Policy, insist: false, cause }
    }
}

/// The field of a request that says what becomes of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    /// `policy`, or one that stands for a part of it.
    Policy,
    /// `fallback`.
    Fallback,
}

impl Field {
    /// Where a path of the policy is in the request.
    pub(super) fn place(self, path: &str) -> String {
        match self {
            Self::Fallback if path.starts_with("fallback") => path.to_owned(),
            Self::Fallback | Self::Policy => format!("policy.{path}"),
        }
    }
}

/// Refuses a policy that the store would not take.
pub(super) fn check_size(written: &v1::IsolationPolicy, field: Field) -> Result<(), Error> {
    let bytes = written.encoded_len();
    if bytes <= MAX_POLICY_BYTES {
        return Ok(());
    }
    let path = match field {
        Field::Policy => "policy",
        Field::Fallback => "fallback",
    };
    Err(Error::invalid(path, format!("must leave the policy at most {MAX_POLICY_BYTES} bytes long, not {bytes}")))
}

/// Refuses a service that the store would not take, with the policy shown twice and all that is ordered beside it.
fn check_room(bytes: usize, has_holds: bool) -> Result<(), Error> {
    if bytes <= MAX_SERVICE_BYTES {
        return Ok(());
    }
    let limit = format!("{MAX_SERVICE_BYTES} bytes of a service, not {bytes}");
    Err(if has_holds {
        Error::QuotaExceeded { quota: "holds", limit, remedy: "release some, or make the policy smaller" }
    } else {
        Error::QuotaExceeded { quota: "record", limit, remedy: "make the policy smaller" }
    })
}

/// Whether a revision is the one that a caller expects. An expected epoch of zero stands for any.
fn is_expected(current: Revision, expected: Revision) -> bool {
    current.revision == expected.revision && (expected.epoch == 0 || expected.epoch == current.epoch)
}

/// Refuses a write whose caller expects another revision. A service that is not registered is at revision zero.
pub(super) fn expect_revision(
    target: &ServiceKey,
    expected: Option<Revision>,
    before: Option<&Registered>,
) -> Result<(), Error> {
    let current = before.map(Registered::revision).unwrap_or_default();
    match expected {
        Some(expected) if !is_expected(current, expected) => {
            Err(Error::RevisionMismatch { key: target.clone(), expected, current })
        }
        _ => Ok(()),
    }
}

/// What is to be written for a service.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) service: v1::Service,
    pub(super) policy: v1::IsolationPolicy,
    /// Whether somebody insists on the policy. That holds until it changes.
    pub(super) insist: bool,
    /// `None`: as before, less what has run out.
    pub(super) orders: Option<Orders>,
}

/// The time of a change.
fn wall(cause: &Cause) -> WallTime {
    // A clock that reads no year of four digits keeps what would have run out.
    wall_time_from_wire(cause.time()).unwrap_or_default()
}

/// What operators ordered before, less what has run out.
pub(super) fn kept_orders(before: Option<&Registered>, cause: &Cause) -> Result<Orders, Error> {
    let mut kept = before.map(|before| before.orders().to_spec()).unwrap_or_default();
    kept.prune(wall(cause));
    Orders::new(kept).map_err(Error::invalid_orders)
}

/// What to write for a service and of its change, and the service as it will be, less its revision.
pub(super) fn written_service(
    view: &mut View<'_>,
    target: &ServiceKey,
    before: Option<&Registered>,
    written: Written,
    cause: &Cause,
) -> Result<(Vec<Op>, v1::IsolatedService), Error> {
    let Written { service, policy: written, insist, orders } = written;
    let orders = match (orders, before) {
        (Some(orders), _) => orders,
        (None, before) => kept_orders(before, cause)?,
    };
    let now = cause.time();
    let create_time = before.and_then(Registered::create_time).or(Some(now));
    let is_still = |before: &Registered| before.is_insisted() && *before.written_policy() == written;
    let insisted = insist || before.is_some_and(is_still);
    let after = record::encode(before, service, written, insisted, &orders, create_time, now);
    write(view, target, before, after, cause)
}

/// The same where it is known how the service is to be stored, less what is kept of its changes.
pub(super) fn write(
    view: &mut View<'_>,
    target: &ServiceKey,
    before: Option<&Registered>,
    after: Bytes,
    cause: &Cause,
) -> Result<(Vec<Op>, v1::IsolatedService), Error> {
    let (value, mut ops) = changes::change(view, target, before, cause, after);
    // Read back as it will be by every manager: what could not be, must not be written.
    let registered = Registered::decode(target, &value, Revision::default())
        .map_err(|unreadable| Error::Internal { detail: format!("{target}: what was to be written: {unreadable}") })?;
    let described = v1::IsolatedService { revision: None, ..describe(view.catalog(), &registered) };
    check_room(value.len().max(described.encoded_len()), !described.holds.is_empty())?;
    view.will_be(registered);
    ops.push(put(key::service(target), value));
    Ok((ops, described))
}
