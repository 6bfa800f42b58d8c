//! Which fields of services a list is asked for.
//!
//! A policy is most of a service, and most lists show little of it: who names what it shows is answered sooner. Paths lead
//! to a field of a service as it is listed, or to one of its service or policies: what is in those is small.
//!
//! What nobody asks for is not made in the first place: of ten thousand services, policies are tens of megabytes.

use std::collections::BTreeSet;

use cofferdam_core::{
    policy::{Policy, Violation},
    wire::{level_to_wire, to_wire},
};
use cofferdam_proto::v1;
use prost_types::FieldMask;

use crate::{
    error::Error,
    registry::{Listed, nearest},
    words::shortened,
};

const READ_MASK: &str = "read_mask";
/// The path that stands for all of them.
const ALL: &str = "*";
/// Unknown paths that are answered with a proposal; a mask with more is not worth more.
const MAX_PROPOSALS: usize = 8;
/// How much of an unknown path is repeated to its writer, in bytes.
const MAX_ECHO_BYTES: usize = 128;

/// The fields that are asked for. The default: all.
#[derive(Debug, Default)]
pub(super) struct ReadMask(Option<Asked>);

/// Whether each field is asked for, in the order of `FIELDS`.
#[derive(Debug)]
struct Asked {
    listed: Vec<bool>,
    service: Vec<bool>,
    policy: Vec<bool>,
    written_policy: Vec<bool>,
}

/// A message of which some fields can be asked for.
trait Masked {
    /// The contract's names of its fields.
    const FIELDS: &[&str];

    /// A copy with nothing but what is asked for. `None`: that is nothing.
    fn some(&self, asked: &[bool]) -> Option<Self>
    where
        Self: Sized;

    /// Unsets what is not asked for.
    fn keep(&mut self, asked: &[bool]);
}

macro_rules! masked {
    ($($message:ident { $($field:ident),* $(,)? })*) => {
        $(impl Masked for v1::$message {
            const FIELDS: &[&str] = &[$(stringify!($field)),*];

            fn some(&self, asked: &[bool]) -> Option<Self> {
                let mut each = asked.iter();
                asked.contains(&true).then(|| Self {
                    $($field: if each.next() == Some(&true) { self.$field.clone() } else { Default::default() }),*
                })
            }

            fn keep(&mut self, asked: &[bool]) {
                // Taken apart without `..`, so that a field added to the contract fails the build here until it can be
                // asked for.
                let Self { $($field),* } = self;
                let mut asked = asked.iter();
                $(if asked.next() != Some(&true) {
                    *$field = Default::default();
                })*
            }
        })*
    };
}

masked! {
    IsolatedService {
        service, policy, revision, policy_hash, health, reported_health, breaker_state, create_time, update_time,
        written_policy, insisted, holds, temporary_level,
    }
    Service { namespace, name, version, description, endpoints, dependencies, labels, enabled }
    IsolationPolicy {
        level, preset, timeout, circuit_breaker, classification, retry, hedge, bulkhead, adaptive_limit, rate_limit,
        fallback, health, method_overrides, fleet_hint,
    }
}

impl ReadMask {
    /// Reads what a request says. No mask, one without paths and `*` are all fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] for each path that leads nowhere, with what may have been meant.
    pub(super) fn read(mask: Option<&FieldMask>) -> Result<Self, Error> {
        let paths: BTreeSet<&str> = mask.iter().flat_map(|mask| &mask.paths).map(String::as_str).collect();
        if paths.is_empty() {
            return Ok(Self(None));
        }
        if paths.contains(ALL) {
            let is_alone = paths.len() == 1;
            return is_alone
                .then_some(Self(None))
                .ok_or_else(|| Error::invalid(READ_MASK, "must name * alone, or not at all"));
        }
        let mut asked = Asked::nothing();
        let unknown = paths.into_iter().filter(|path| !asked.ask(path)).take(MAX_PROPOSALS);
        let violations: Vec<_> = unknown.map(unknown_path).collect();
        if violations.is_empty() { Ok(Self(Some(asked))) } else { Err(Error::Invalid { violations }) }
    }

    /// A service with at least what is asked for of it, except for its derived health and breaker state.
    pub(super) fn describe(&self, listed: Listed<'_>) -> v1::IsolatedService {
        let Some(Asked { service, policy, written_policy, .. }) = &self.0 else { return listed.describe() };
        let registered = listed.registered();
        v1::IsolatedService {
            service: registered.service().some(service),
            policy: effective(registered.policy(), policy),
            written_policy: registered.written_policy().some(written_policy),
            ..listed.describe_bare()
        }
    }

    /// Unsets of a service what is not asked for.
    pub(super) fn keep(&self, service: &mut v1::IsolatedService) {
        let Some(Asked { listed, service: of_service, policy, written_policy }) = &self.0 else { return };
        service.keep(listed);
        service.service.iter_mut().for_each(|service| service.keep(of_service));
        service.policy.iter_mut().for_each(|wire| wire.keep(policy));
        service.written_policy.iter_mut().for_each(|wire| wire.keep(written_policy));
    }
}

impl Asked {
    fn nothing() -> Self {
        Self {
            listed: vec![false; v1::IsolatedService::FIELDS.len()],
            service: vec![false; v1::Service::FIELDS.len()],
            policy: vec![false; v1::IsolationPolicy::FIELDS.len()],
            written_policy: vec![false; v1::IsolationPolicy::FIELDS.len()],
        }
    }

    /// Asks for the field at a path. Whether there is one.
    fn ask(&mut self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let inner = inner(first);
        let flags = match first {
            "service" => Some(&mut self.service),
            "policy" => Some(&mut self.policy),
            "written_policy" => Some(&mut self.written_policy),
            _ => None,
        };
        let is_there = match (rest, flags) {
            (Some(rest), Some(flags)) => set(inner, rest, flags),
            (Some(_), None) => false,
            (None, flags) => {
                flags.into_iter().flatten().for_each(|flag| *flag = true);
                true
            }
        };
        is_there && set(v1::IsolatedService::FIELDS, first, &mut self.listed)
    }
}

/// A policy in force with at least what is asked for of it. Its level alone, which most lists show, takes none of the rest.
fn effective(policy: &Policy, asked: &[bool]) -> Option<v1::IsolationPolicy> {
    let mut names = v1::IsolationPolicy::FIELDS.iter().zip(asked).filter(|(_, asked)| **asked).map(|(name, _)| *name);
    match (names.next()?, names.next()) {
        ("level", None) => {
            let level = level_to_wire(policy.level).into();
            Some(v1::IsolationPolicy { level, ..v1::IsolationPolicy::default() })
        }
        _ => Some(to_wire(policy)),
    }
}

/// The fields in a field, as far as paths lead there.
fn inner(field: &str) -> &'static [&'static str] {
    match field {
        "service" => v1::Service::FIELDS,
        "policy" | "written_policy" => v1::IsolationPolicy::FIELDS,
        _ => &[],
    }
}

fn set(fields: &[&str], name: &str, flags: &mut [bool]) -> bool {
    let flag = fields.iter().position(|field| *field == name).and_then(|place| flags.get_mut(place));
    flag.map(|flag| *flag = true).is_some()
}

fn unknown_path(path: &str) -> Violation {
    let fields = v1::IsolatedService::FIELDS.iter();
    let all: Vec<String> = fields
        .flat_map(|field| {
            let inner = inner(field).iter().map(move |inner| format!("{field}.{inner}"));
            std::iter::once((*field).to_owned()).chain(inner)
        })
        .collect();
    // Who goes on behind a path that ends means that one.
    let longest = path.rmatch_indices('.').map(|(end, _)| &path[..end]).find(|path| all.iter().any(|one| one == path));
    let leads_no_further = longest.filter(|path| inner(path).is_empty()).map(str::to_owned);
    let meant = leads_no_further.or_else(|| nearest(path, all.iter().map(String::as_str)).into_iter().next());
    let meant = meant.map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
    Violation::invalid(READ_MASK, format!("names no field by {:?}{meant}", shortened(path, MAX_ECHO_BYTES)))
}

#[cfg(test)]
mod tests;
