//! Who needs whom: the graph that services declare, and how trouble goes along it.
//!
//! Trouble goes from a service to those that need it, along the shortest way. First everything goes that cannot work:
//! services that are unusable by themselves, and all to whom one of these is critical. Then everything that works with
//! less: services that are degraded by themselves, those to whom something unusable is optional, and all to whom one of
//! *these* is critical. What happens if a service went is the same, begun with that service alone.
//!
//! What a cycle's services need is as true as anything else, so trouble goes round it. Only an order to start them in
//! does not exist.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque, btree_map::Entry},
    iter::successors,
};

use cofferdam_core::health::HealthStatus;
use petgraph::{
    Direction,
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
    visit::EdgeRef,
};

/// The longest way to a cause that is told.
const MAX_CAUSE: usize = 64;

/// What the absence of a dependency means to the service that declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It does not work without.
    Critical,
    /// It works on, with less.
    Optional,
}

/// A service that was registered.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) needs: Vec<(String, Need)>,
    /// How it does by itself; absent where nothing is known.
    pub(crate) status: Option<HealthStatus>,
    pub(crate) is_enabled: bool,
}

/// The services of one namespace, by name, and those that they need.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Edges go from a service to what it needs.
    edges: DiGraph<Node, Need>,
    by_name: BTreeMap<String, NodeIndex>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    name: String,
    is_registered: bool,
    is_enabled: bool,
    status: Option<HealthStatus>,
}

/// A service as the graph has it.
#[derive(Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) is_registered: bool,
    /// One more than the largest of what it needs; absent in and behind a cycle.
    pub(crate) layer: Option<u32>,
    pub(crate) own: Option<HealthStatus>,
    /// With what it needs.
    pub(crate) status: Option<HealthStatus>,
    /// The way to where that comes from; empty where it is the service's own.
    pub(crate) cause: Vec<String>,
}

/// What becomes of others without a service.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Impact {
    pub(crate) unhealthy: Vec<String>,
    pub(crate) degraded: Vec<String>,
}

/// How far trouble has come, and through which dependency it came; by node.
struct Spread(Vec<Option<(HealthStatus, Option<NodeIndex>)>>);

impl Graph {
    /// Of all services of a namespace.
    pub(crate) fn new(services: impl IntoIterator<Item = Declared>) -> Self {
        let mut graph = Self { edges: DiGraph::new(), by_name: BTreeMap::new() };
        for Declared { name, needs, status, is_enabled } in services {
            let index = graph.place(&name);
            if let Some(node) = graph.edges.node_weight_mut(index) {
                *node = Node { name, is_registered: true, is_enabled, status };
            }
            for (other, need) in needs {
                let other = graph.place(&other);
                graph.edges.add_edge(index, other, need);
            }
        }
        graph
    }

    fn place(&mut self, name: &str) -> NodeIndex {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let node = Node { name: name.to_owned(), is_enabled: true, ..Node::default() };
        let index = self.edges.add_node(node);
        self.by_name.insert(name.to_owned(), index);
        index
    }

    fn name(&self, index: NodeIndex) -> &str {
        &self.edges[index].name
    }

    /// The names of a service, of what it needs and of what needs it, at any remove. `None`: nobody names it.
    pub(crate) fn around(&self, name: &str) -> Option<BTreeSet<&str>> {
        let middle = *self.by_name.get(name)?;
        let mut around = BTreeSet::new();
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let mut is_seen = vec![false; self.edges.node_count()];
            let mut ahead = vec![middle];
            while let Some(index) = ahead.pop() {
                if !std::mem::replace(&mut is_seen[index.index()], true) {
                    around.insert(self.name(index));
                    ahead.extend(self.edges.neighbors_directed(index, direction));
                }
            }
        }
        Some(around)
    }

    /// The services with names that are asked about, by name.
    pub(crate) fn places(&self, is_asked: impl Fn(&str) -> bool) -> impl Iterator<Item = Place> {
        let layers = self.layers();
        let spread = self.troubles();
        let asked = self.by_name.values().filter(move |index| is_asked(self.name(**index)));
        asked.map(move |index| {
            let node = &self.edges[*index];
            let reached = spread.0[index.index()].filter(|(status, _)| node.status.is_none_or(|own| *status > own));
            Place {
                name: node.name.clone(),
                is_registered: node.is_registered,
                layer: layers[index.index()],
                own: node.status,
                status: node.status.max(reached.map(|(status, _)| status)),
                cause: reached.map(|_| self.way(&spread, *index)).unwrap_or_default(),
            }
        })
    }

    /// What becomes of others if this one cannot be used.
    pub(crate) fn impact(&self, name: &str) -> Impact {
        let mut impact = Impact::default();
        let Some(gone) = self.by_name.get(name) else { return impact };
        let spread = self.spread(&[*gone], &[]);
        for index in self.by_name.values().filter(|index| *index != gone) {
            let name = self.name(*index).to_owned();
            match spread.0[index.index()] {
                Some((HealthStatus::Unhealthy, _)) => impact.unhealthy.push(name),
                Some(_) => impact.degraded.push(name),
                None => {}
            }
        }
        impact
    }

    /// A way round each set of services that need one another, by the first name.
    pub(crate) fn cycles(&self) -> Vec<Vec<String>> {
        let mut cycles: Vec<_> = kosaraju_scc(&self.edges)
            .iter()
            .filter(|members| self.is_cycle(members))
            .map(|m| self.way_round(m))
            .collect();
        cycles.sort_unstable();
        cycles
    }

    fn is_cycle(&self, members: &[NodeIndex]) -> bool {
        members.len() > 1 || members.first().is_some_and(|only| self.edges.contains_edge(*only, *only))
    }

    /// The shortest way from the first member back to itself.
    fn way_round(&self, members: &[NodeIndex]) -> Vec<String> {
        let Some(start) = members.iter().copied().min_by_key(|index| self.name(*index)) else { return Vec::new() };
        let members: HashSet<_> = members.iter().copied().collect();
        let mut came_from = BTreeMap::new();
        let mut ahead = VecDeque::from([start]);
        while let Some(index) = ahead.pop_front() {
            let mut needs: Vec<_> = self.edges.neighbors(index).filter(|other| members.contains(other)).collect();
            needs.sort_unstable_by_key(|other| self.name(*other));
            for other in needs {
                if other == start {
                    let back = successors(Some(index), |index| came_from.get(index).copied());
                    let mut way: Vec<_> = back.map(|index| self.name(index).to_owned()).collect();
                    way.reverse();
                    return way;
                }
                if let Entry::Vacant(entry) = came_from.entry(other) {
                    entry.insert(index);
                    ahead.push_back(other);
                }
            }
        }
        Vec::new()
    }

    fn layers(&self) -> Vec<Option<u32>> {
        let mut layers = vec![None; self.edges.node_count()];
        // What is needed comes before what needs it.
        for members in kosaraju_scc(&self.edges) {
            if let [index] = members[..]
                && !self.is_cycle(&members)
            {
                layers[index.index()] = self
                    .edges
                    .neighbors(index)
                    .map(|needed| layers[needed.index()])
                    .try_fold(0, |largest: u32, layer: Option<u32>| Some(largest.max(layer?.saturating_add(1))));
            }
        }
        layers
    }

    /// From where there is trouble now.
    fn troubles(&self) -> Spread {
        let of = |wanted: fn(&Node) -> bool| -> Vec<_> {
            self.by_name.values().copied().filter(|index| wanted(&self.edges[*index])).collect()
        };
        let is_unusable = |node: &Node| !node.is_enabled || node.status >= Some(HealthStatus::Unhealthy);
        self.spread(&of(is_unusable), &of(|node| node.status == Some(HealthStatus::Degraded)))
    }

    fn spread(&self, unusable: &[NodeIndex], degraded: &[NodeIndex]) -> Spread {
        let mut spread = Spread(vec![None; self.edges.node_count()]);
        let begin = |index: &NodeIndex| (*index, None);
        self.carry(&mut spread, HealthStatus::Unhealthy, unusable.iter().map(begin).collect());
        let without = self
            .edges
            .edge_references()
            .filter(|edge| *edge.weight() == Need::Optional && spread.0[edge.target().index()].is_some());
        let without = without.map(|edge| (edge.source(), Some(edge.target())));
        let begin = degraded.iter().map(begin).chain(without).collect();
        self.carry(&mut spread, HealthStatus::Degraded, begin);
        spread
    }

    /// To all to whom it is critical, the nearest first.
    fn carry(&self, spread: &mut Spread, status: HealthStatus, mut ahead: VecDeque<(NodeIndex, Option<NodeIndex>)>) {
        while let Some((index, through)) = ahead.pop_front() {
            let reached = &mut spread.0[index.index()];
            if reached.is_some() {
                continue;
            }
            *reached = Some((status, through));
            let above = self.edges.edges_directed(index, Direction::Incoming);
            let critical = above.filter(|edge| *edge.weight() == Need::Critical);
            let mut critical: Vec<_> = critical.map(|edge| edge.source()).collect();
            // Of ways of the same length, always the same is told.
            critical.sort_unstable_by_key(|above| self.name(*above));
            ahead.extend(critical.into_iter().map(|above| (above, Some(index))));
        }
    }

    /// The way that trouble came. One longer than [`MAX_CAUSE`] lacks what is before its end.
    fn way(&self, spread: &Spread, from: NodeIndex) -> Vec<String> {
        let next = |index: &NodeIndex| spread.0[index.index()].and_then(|(_, through)| through);
        let mut way = successors(next(&from), next);
        let mut names: Vec<_> = way.by_ref().take(MAX_CAUSE - 1).map(|index| self.name(index).to_owned()).collect();
        names.extend(way.last().map(|index| self.name(index).to_owned()));
        names
    }
}

#[cfg(test)]
mod tests;
