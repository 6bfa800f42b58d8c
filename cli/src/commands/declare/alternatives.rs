//! Who is asked in whose place: an order in which services can be written, and what keeps them from being written at all.

use super::manifest::{Key, Manifest};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;
use std::collections::{HashMap, HashSet};

impl Manifest {
    /// The services that its fallback asks in its place.
    fn alternatives(&self) -> Vec<Key> {
        let policy = self.request.policy.clone().unwrap_or_default();
        let mut asked = of_policy(&self.key().0, policy);
        let chain = self.request.fallback.clone().unwrap_or_default().chain;
        asked.extend(of_chain(&self.key().0, chain));
        asked
    }
}

fn of_policy(namespace: &str, policy: v1::IsolationPolicy) -> Vec<Key> {
    let overrides = policy.method_overrides.into_iter().filter_map(|one| one.policy?.fallback);
    let chains = policy.fallback.into_iter().chain(overrides).map(|fallback| fallback.chain);
    chains.flat_map(|chain| of_chain(namespace, chain)).collect()
}

fn of_chain(namespace: &str, chain: Vec<v1::FallbackStep>) -> Vec<Key> {
    let asked = chain.into_iter().filter_map(|step| match step.strategy {
        Some(Strategy::Alternative(other)) => Some((namespace.to_owned(), other.service)),
        _ => None,
    });
    asked.collect()
}

/// What others fall back to comes before them; all else stays as it is. A circle, which is a [fault](faults), stays too.
pub(super) fn ordered(manifests: Vec<Manifest>) -> Vec<Manifest> {
    let mut rest = manifests;
    let mut done = Vec::new();
    while !rest.is_empty() {
        let waiting: HashSet<_> = rest.iter().map(Manifest::key).collect();
        let is_free =
            |one: &Manifest| one.alternatives().iter().all(|other| *other == one.key() || !waiting.contains(other));
        let (free, bound): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_free);
        if free.is_empty() {
            done.extend(bound);
            break;
        }
        done.extend(free);
        rest = bound;
    }
    done
}

/// Services that are asked and neither said nor registered, and those that lead back to whom they stand in for: they cannot
/// be written. `written` is what would be registered of those that are said.
pub(super) fn faults(
    manifests: &[Manifest],
    written: &[v1::IsolationPolicy],
    registered: &[v1::IsolatedService],
) -> Vec<String> {
    let mut asked: HashMap<Key, Vec<Key>> = HashMap::new();
    for one in registered {
        let service = one.service.clone().unwrap_or_default();
        let others = of_policy(&service.namespace, one.written_policy.clone().unwrap_or_default());
        asked.insert((service.namespace, service.name), others);
    }
    for (manifest, policy) in manifests.iter().zip(written) {
        asked.insert(manifest.key(), of_policy(&manifest.key().0, policy.clone()));
    }
    let mut lines = Vec::new();
    for manifest in manifests {
        for other in asked.get(&manifest.key()).into_iter().flatten() {
            let what = if !asked.contains_key(other) {
                "is asked as an alternative, and neither said nor registered"
            } else if leads_to(other, &manifest.key(), &asked) {
                "is asked as an alternative, and leads back"
            } else {
                continue;
            };
            lines.push(format!("{}: policy.fallback.chain: {} {what}", manifest.place, other.1));
        }
    }
    lines
}

/// Whether asking one service may come to ask another.
fn leads_to(from: &Key, to: &Key, asked: &HashMap<Key, Vec<Key>>) -> bool {
    let mut seen = HashSet::new();
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            next.extend(asked.get(at).into_iter().flatten());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::manifest;
    use super::*;
    use serde_json::json;

    fn with_alternative(name: &str, other: &str) -> Manifest {
        let policy = json!({"fallback": {"chain": [{"alternative": {"service": other}}]}});
        manifest(json!({"service": {"name": name}, "policy": policy})).unwrap()
    }

    fn unfit(manifests: &[Manifest]) -> Vec<String> {
        let written: Vec<_> = manifests.iter().map(|one| one.written(None).unwrap()).collect();
        faults(manifests, &written, &[])
    }

    #[test]
    fn what_others_fall_back_to_comes_first() {
        let plain = |name: &str| manifest(json!({"service": {"name": name}})).unwrap();
        let names = |manifests| ordered(manifests).iter().map(|one| one.key().1).collect::<Vec<_>>();
        let chain = vec![with_alternative("a", "b"), with_alternative("b", "c"), plain("c"), plain("d")];
        assert_eq!(names(chain.clone()), ["c", "d", "b", "a"]);
        assert_eq!(names(vec![with_alternative("a", "b"), with_alternative("b", "a")]), ["a", "b"], "a circle");
        assert_eq!(unfit(&chain), Vec::<String>::new());
        let missing = "f.yaml: policy.fallback.chain: z is asked as an alternative, and neither said nor registered";
        assert_eq!(unfit(&[with_alternative("a", "z")]), [missing]);
    }

    #[test]
    fn whoever_leads_back_is_a_fault_also_by_way_of_what_is_registered() {
        let back =
            |name: &str| format!("f.yaml: policy.fallback.chain: {name} is asked as an alternative, and leads back");
        assert_eq!(unfit(&[with_alternative("a", "b"), with_alternative("b", "a")]), [back("b"), back("a")]);
        assert_eq!(unfit(&[with_alternative("a", "a")]), [back("a")]);
        let [a, b] = [with_alternative("a", "b"), with_alternative("b", "a")];
        let registered = v1::IsolatedService {
            service: b.request.service.clone(),
            written_policy: b.request.policy,
            ..Default::default()
        };
        let written = a.written(None).unwrap();
        assert_eq!(faults(&[a], &[written], &[registered]), [back("b")]);
    }
}
