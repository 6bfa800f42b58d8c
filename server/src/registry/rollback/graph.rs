//! Who stands in for whom when all that is to be done is done, and in which order that can be done.
//!
//! The services that are put back are looked at together, beside those that stay as they are. What would name an
//! alternative that is not there, or lead back, is refused, and so in turn is what depends on it; who is named by one that
//! stays cannot go.
//!
//! The order makes each part of it, from the beginning, as sound as the whole. *Leaves first*: a service comes after its
//! alternatives. Of those that are done by then, and all that they lead to, everything is as it will be, so no way leads
//! back there, and none leads out of there to those that are not; and these are as they were, and led nowhere back. Services
//! that go come last, those that name others before these.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_core::{
    name::{Name, ServiceKey},
    policy::Violation,
};

use super::super::{catalog::Catalog, register::no_room};
use crate::error::Error;

/// What is to become of a service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// It is registered, with these alternatives.
    Restore(&'a BTreeSet<Name>),
    /// It is not registered any more.
    Remove,
}

/// What can be done.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The services in an order in which it can be done part by part.
    pub(super) order: Vec<ServiceKey>,
    /// Those for which it cannot, and why.
    pub(super) refused: Vec<(ServiceKey, Error)>,
}

/// A service, as it is and as it is to be.
#[derive(Debug)]
struct Node<'a> {
    key: &'a ServiceKey,
    /// The alternatives that it has. `None`: it is not registered.
    now: Option<Vec<&'a Name>>,
    wanted: Option<Wanted<'a>>,
}

impl<'a> Node<'a> {
    /// The alternatives that it will have. `None`: it will not be registered.
    fn then(&self) -> Option<Vec<&'a Name>> {
        match self.wanted {
            Some(Wanted::Restore(alternatives)) => Some(alternatives.iter().collect()),
            Some(Wanted::Remove) => None,
            None => self.now.clone(),
        }
    }

    fn comes(&self) -> bool {
        matches!(self.wanted, Some(Wanted::Restore(_)))
    }

    fn goes(&self) -> bool {
        matches!(self.wanted, Some(Wanted::Remove))
    }
}

/// Settles what of all that is wanted can be done, with room for `limit` services.
pub(super) fn settle<'a>(catalog: &'a Catalog, wanted: &BTreeMap<&'a ServiceKey, Wanted<'a>>, limit: usize) -> Settled {
    let namespaces: BTreeSet<_> = wanted.keys().map(|key| &key.namespace).collect();
    let present = catalog.services_after(None).filter(|present| namespaces.contains(&present.key().namespace));
    let mut nodes: BTreeMap<&ServiceKey, Node<'a>> = present
        .map(|present| {
            let now = Some(present.alternatives().collect());
            (present.key(), Node { key: present.key(), now, wanted: None })
        })
        .collect();
    for (key, wanted) in wanted {
        nodes.entry(key).or_insert(Node { key, now: None, wanted: None }).wanted = Some(*wanted);
    }
    Graph { nodes: nodes.into_values().collect() }.settle(catalog.len(), limit)
}

/// Services by namespace and name.
#[derive(Debug)]
struct Graph<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Graph<'a> {
    fn settle(mut self, present: usize, limit: usize) -> Settled {
        let mut refused = Vec::new();
        loop {
            let mut found = self.dangling();
            if found.is_empty() {
                found.extend(self.leading_back());
            }
            if found.is_empty() {
                found = self.beyond(present, limit);
            }
            if found.is_empty() {
                return Settled { order: self.order(), refused };
            }
            for (index, error) in found {
                let node = &mut self.nodes[index];
                node.wanted = None;
                refused.push((node.key.clone(), error));
            }
        }
    }

    /// The service of this name in the namespace of another one.
    fn find(&self, beside: &ServiceKey, name: &Name) -> Option<usize> {
        let wanted = (&beside.namespace, name);
        self.nodes.binary_search_by(|node| (&node.key.namespace, &node.key.name).cmp(&wanted)).ok()
    }

    /// What cannot be done because an alternative would not be there.
    fn dangling(&self) -> Vec<(usize, Error)> {
        let mut coming = Vec::new();
        let mut going: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for name in node.then().unwrap_or_default() {
                let target = self.find(node.key, name);
                if target.is_some_and(|target| self.nodes[target].then().is_some()) {
                    continue;
                }
                if node.comes() {
                    let namespace = &node.key.namespace;
                    let description = format!("must be registered in namespace {namespace}, and {name} is not");
                    coming.push((index, Error::Invalid { violations: vec![at_chain(description)] }));
                    break;
                }
                if let Some(target) = target.filter(|target| self.nodes[*target].goes()) {
                    going.entry(target).or_default().push(node.key.name.to_string());
                }
            }
        }
        let in_use = |(index, services): (usize, Vec<String>)| {
            (index, Error::ServiceInUse { key: self.nodes[index].key.clone(), services })
        };
        coming.into_iter().chain(going.into_iter().map(in_use)).collect()
    }

    /// The first service that cannot be put back because its alternatives would lead back to it.
    fn leading_back(&self) -> Option<(usize, Error)> {
        let mut refused = None;
        self.walk(Node::then, |way| {
            let first = way.iter().copied().find(|index| self.nodes[*index].comes());
            if refused.is_none()
                && let Some(first) = first
            {
                // From the one that is refused, all around.
                let start = way.iter().position(|index| *index == first).unwrap_or_default();
                let around = way.iter().cycle().skip(start).take(way.len() + 1);
                let names: Vec<_> = around.map(|index| self.nodes[*index].key.name.as_str()).collect();
                let violations = vec![at_chain(format!("must not lead back: {}", names.join(" -> ")))];
                refused = Some((first, Error::Invalid { violations }));
            }
        });
        refused
    }

    /// Those that find no room beside the others.
    fn beyond(&self, present: usize, limit: usize) -> Vec<(usize, Error)> {
        let is_new = |node: &Node<'_>| node.comes() && node.now.is_none();
        let new = self.nodes.iter().filter(|node| is_new(node)).count();
        let going = self.nodes.iter().filter(|node| node.goes()).count();
        let beyond = (present + new).saturating_sub(going).saturating_sub(limit);
        let last = self.nodes.iter().enumerate().rev().filter(|(_, node)| is_new(node));
        last.take(beyond).map(|(index, _)| (index, no_room(limit))).collect()
    }

    /// In which order all can be done.
    fn order(&self) -> Vec<ServiceKey> {
        let key = |index: &usize| self.nodes[*index].key.clone();
        let coming = self.walk(Node::then, |_| {});
        let mut going = self.walk(|node| node.now.clone(), |_| {});
        going.reverse();
        let coming = coming.iter().filter(|index| self.nodes[**index].comes());
        coming.chain(going.iter().filter(|index| self.nodes[**index].goes())).map(key).collect()
    }

    /// All services, each behind its alternatives, except where they lead back: each such way is told, without its first one
    /// at the end.
    fn walk(
        &self,
        alternatives: impl Fn(&Node<'a>) -> Option<Vec<&'a Name>>,
        mut leads_back: impl FnMut(&[usize]),
    ) -> Vec<usize> {
        let mut is_begun = vec![false; self.nodes.len()];
        let mut is_done = vec![false; self.nodes.len()];
        let mut order = Vec::new();
        for start in 0..self.nodes.len() {
            if is_begun[start] {
                continue;
            }
            is_begun[start] = true;
            // Each with those of its alternatives that are still to be looked at.
            let open = |index: usize| (index, alternatives(&self.nodes[index]).unwrap_or_default());
            let mut way = vec![open(start)];
            while let Some((index, left)) = way.last_mut() {
                let index = *index;
                let Some(name) = left.pop() else {
                    is_done[index] = true;
                    order.push(index);
                    way.pop();
                    continue;
                };
                match self.find(self.nodes[index].key, name) {
                    Some(next) if !is_begun[next] => {
                        is_begun[next] = true;
                        way.push(open(next));
                    }
                    Some(next) if !is_done[next] => {
                        let indices: Vec<_> = way.iter().map(|(index, _)| *index).collect();
                        let from = indices.iter().position(|index| *index == next).unwrap_or_default();
                        leads_back(&indices[from..]);
                    }
                    _ => {}
                }
            }
        }
        order
    }
}

fn at_chain(description: String) -> Violation {
    Violation::invalid("to.policy.fallback.chain", description)
}

#[cfg(test)]
mod tests;
