//! As much of what is to be done as one transaction takes.

use std::collections::BTreeSet;

use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::v1::{self, RollbackOutcome};

use super::{
    goal::Step,
    many::{Candidate, Candidates},
};
use crate::{
    error::Error,
    registry::{Registered, alternatives, changes::Cause, key::Key, transact::View, unregister::remove},
    store::{MAX_OPS, MAX_TXN_BYTES, Op},
};

/// The most operations: two are left for the record of the request and that of the whole.
const OPS: usize = MAX_OPS - 2;

/// The most keys that it depends on: one is left for the record of the request.
const CONDITIONS: usize = MAX_OPS - 1;

/// The most bytes: the rest is for those records.
pub(super) const BYTES: usize = MAX_TXN_BYTES - 256 * 1024;

/// A part of what is to be done, from its beginning.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// What to write.
    pub(super) ops: Vec<Op>,
    /// The services that are done then, in the order in which they were wanted.
    pub(super) services: Vec<v1::RolledBackService>,
    guarded: BTreeSet<Name>,
}

/// What can be done in one transaction of what is wanted, in this order. The view depends on what is needed for that.
///
/// # Errors
/// The service for which nothing can be written, and why.
pub(super) fn chunk(
    view: &mut View<'_>,
    order: &[ServiceKey],
    candidates: &Candidates,
    cause: &Cause,
) -> Result<Chunk, Box<(ServiceKey, Error)>> {
    let mut chunk = Chunk::default();
    let mut beside = 0;
    let mut bytes = 0;
    for key in order {
        let Some(Ok(candidate)) = candidates.get(key) else { continue };
        let read = view.read();
        let (ops, service) = chunk.step(view, key, candidate, cause).map_err(|error| Box::new((key.clone(), error)))?;
        // What the registry adds for a policy that is contained.
        let containment = usize::from(view.catalog().known(&Key::Containment(key.clone())).is_some());
        let more: usize = ops.iter().map(size).sum::<usize>() + 2 * (key.to_string().len() + 32);
        let is_too_much = chunk.ops.len() + ops.len() + beside + containment > OPS
            || view.read().len() > CONDITIONS
            || bytes + more > BYTES;
        if is_too_much {
            view.forget_since(read);
            if chunk.services.is_empty() {
                let limit = "one transaction".to_owned();
                let remedy = "make its policy smaller, then put it back by itself";
                return Err(Box::new((key.clone(), Error::QuotaExceeded { quota: "record", limit, remedy })));
            }
            break;
        }
        beside += containment;
        bytes += more;
        chunk.guarded.extend(ops.iter().filter_map(|op| match Key::parse(op.key()) {
            Key::Alternatives(namespace) => Some(namespace),
            _ => None,
        }));
        chunk.ops.extend(ops);
        chunk.services.push(service);
    }
    Ok(chunk)
}

impl Chunk {
    /// What to write for one service, and what becomes of it.
    fn step(
        &self,
        view: &mut View<'_>,
        key: &ServiceKey,
        candidate: &Candidate,
        cause: &Cause,
    ) -> Result<(Vec<Op>, v1::RolledBackService), Error> {
        let goal = &candidate.goal;
        let before = view.service(key).map(|registered| &**registered);
        let cause = goal.cause(cause);
        let ops = match goal.step(before, view.catalog().is_poisoned(key), true) {
            Step::Nothing(_) => Vec::new(),
            Step::Restore => {
                let mut ops = goal.restore(view, key, before, &cause)?;
                ops.extend(self.guard(view, key, before, candidate.alternatives.as_ref().ok()));
                ops
            }
            Step::Remove => {
                let mut ops = remove(view, key, before, &cause);
                ops.extend(self.guard(view, key, before, None));
                ops
            }
        };
        Ok((ops, goal.answer(key, before, RollbackOutcome::Done)))
    }

    /// Makes the chunk depend on what was found of the alternatives of a service, and says what else to write for them.
    fn guard(
        &self,
        view: &mut View<'_>,
        key: &ServiceKey,
        before: Option<&Registered>,
        then: Option<&BTreeSet<Name>>,
    ) -> Option<Op> {
        let now: BTreeSet<_> = before.map(|before| before.alternatives().collect()).unwrap_or_default();
        let is_changed = !then.into_iter().flatten().eq(now);
        if !is_changed && then.is_some() {
            return None;
        }
        let _ = view.alternatives(&key.namespace);
        for name in then.into_iter().flatten() {
            let _ = view.service(&ServiceKey { namespace: key.namespace.clone(), name: name.clone() });
        }
        (is_changed && !self.guarded.contains(&key.namespace)).then(|| alternatives::touch(&key.namespace))
    }
}

fn size(op: &Op) -> usize {
    op.key().len()
        + match op {
            Op::Put { value, .. } => value.len(),
            Op::Delete { .. } => 0,
        }
}
