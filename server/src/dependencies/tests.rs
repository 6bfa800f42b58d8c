use cofferdam_core::health::HealthStatus::{CircuitOpen, Degraded, Healthy, Unhealthy};
use proptest::prelude::*;

use super::*;

/// `name: needs`, where what is optional ends in a question mark.
fn graph(services: &[(&str, &str, Option<HealthStatus>)]) -> Graph {
    Graph::new(services.iter().map(|(name, needs, status)| Declared {
        name: (*name).to_owned(),
        needs: needs.split_whitespace().map(need).collect(),
        status: *status,
        is_enabled: true,
    }))
}

fn need(text: &str) -> (String, Need) {
    match text.strip_suffix('?') {
        Some(name) => (name.to_owned(), Need::Optional),
        None => (text.to_owned(), Need::Critical),
    }
}

fn layers(graph: &Graph) -> Vec<(String, Option<u32>)> {
    graph.places(|_| true).map(|place| (place.name, place.layer)).collect()
}

fn place(graph: &Graph, name: &str) -> Place {
    graph.places(|asked| asked == name).next().unwrap()
}

/// The module system of the users' documents.
fn modules(status: Option<HealthStatus>) -> Graph {
    graph(&[
        ("connection-api", "", status),
        ("user-management", "connection-api cache?", Some(Healthy)),
        ("wallet-module", "user-management connection-api", Some(Healthy)),
        ("transactions-module", "wallet-module user-management", Some(Healthy)),
    ])
}

#[test]
fn b4_layers_are_the_order_to_start_in() {
    let mut order = layers(&modules(None));
    order.sort_by_key(|(_, layer)| *layer);
    let expected =
        ["cache", "connection-api", "user-management", "wallet-module", "transactions-module"].map(str::to_owned);
    assert_eq!(order, expected.into_iter().zip([0, 0, 1, 2, 3].map(Some)).collect::<Vec<_>>());
    assert!(modules(None).cycles().is_empty());
    assert!(!place(&modules(None), "cache").is_registered, "somebody needs it, nobody has it");
}

#[test]
fn a_cycle_is_told_with_its_way_and_has_no_order() {
    let graph = graph(&[
        ("d", "c", None),
        ("c", "a e", None),
        ("b", "c? e", None),
        ("a", "b", None),
        ("e", "", None),
        ("self", "self", None),
        ("x", "y", None),
        ("y", "x", None),
    ]);
    let cycles: Vec<_> = graph.cycles().iter().map(|cycle| cycle.join(" ")).collect();
    assert_eq!(cycles, ["a b c", "self", "x y"]);
    let unordered: Vec<_> =
        layers(&graph).into_iter().filter(|(_, layer)| layer.is_none()).map(|(name, _)| name).collect();
    assert_eq!(unordered, ["a", "b", "c", "d", "self", "x", "y"], "d is behind a cycle, e is not");
}

#[test]
fn b11_what_is_critical_takes_down_and_what_is_optional_takes_something_away() {
    let of = |own| {
        let graph = graph(&[
            ("db", "", own),
            ("orders", "db", Some(Healthy)),
            ("shop", "orders? search?", Some(Healthy)),
            ("front", "shop", None),
            ("mail", "front?", None),
            ("search", "", None),
        ]);
        graph.places(|_| true).collect::<Vec<_>>()
    };
    let status = |places: &[Place]| {
        places.iter().map(|place| (place.name.clone(), place.status, place.cause.join(" "))).collect::<Vec<_>>()
    };
    for (own, expected) in [(Unhealthy, Unhealthy), (CircuitOpen, CircuitOpen)] {
        assert_eq!(
            status(&of(Some(own))),
            [
                ("db".into(), Some(expected), String::new()),
                ("front".into(), Some(Degraded), "shop orders db".into()),
                ("mail".into(), None, String::new()),
                ("orders".into(), Some(Unhealthy), "db".into()),
                ("search".into(), None, String::new()),
                ("shop".into(), Some(Degraded), "orders db".into()),
            ]
        );
    }
    let degraded = of(Some(Degraded));
    assert_eq!(status(&degraded)[3], ("orders".into(), Some(Degraded), "db".into()));
    assert_eq!(status(&degraded)[5], ("shop".into(), Some(Healthy), String::new()), "an optional one that still works");
}

#[test]
fn a_disabled_service_cannot_be_used() {
    let off = Declared { name: "db".into(), needs: Vec::new(), status: Some(Healthy), is_enabled: false };
    let orders = Declared { name: "orders".into(), needs: vec![need("db")], status: None, is_enabled: true };
    let graph = Graph::new([off, orders]);
    assert_eq!(place(&graph, "db").status, Some(Unhealthy));
    assert_eq!(
        (place(&graph, "orders").status, place(&graph, "orders").cause),
        (Some(Unhealthy), vec!["db".to_owned()])
    );
}

#[test]
fn trouble_of_its_own_that_is_worse_is_its_own() {
    let graph = graph(&[("db", "", Some(Degraded)), ("orders", "db", Some(CircuitOpen)), ("shop", "orders", None)]);
    let orders = place(&graph, "orders");
    assert_eq!((orders.own, orders.status, orders.cause), (Some(CircuitOpen), Some(CircuitOpen), Vec::new()));
    assert_eq!(place(&graph, "shop").cause, ["orders"]);
}

#[test]
fn impact_is_what_would_be_lost() {
    let graph = modules(Some(Healthy));
    let impact = |name| {
        let Impact { unhealthy, degraded } = graph.impact(name);
        (unhealthy.join(" "), degraded.join(" "))
    };
    assert_eq!(impact("connection-api").0, "transactions-module user-management wallet-module");
    assert_eq!(impact("cache"), (String::new(), "transactions-module user-management wallet-module".into()));
    assert_eq!(impact("transactions-module"), (String::new(), String::new()));
    assert_eq!(graph.impact("nobody"), Impact::default());
}

#[test]
fn around_is_both_ways_and_not_sideways() {
    let graph = graph(&[("a", "b", None), ("b", "c", None), ("d", "c", None), ("e", "", None)]);
    let around = |name| graph.around(name).map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(around("b"), Some("a b c".to_owned()));
    assert_eq!(around("c"), Some("a b c d".to_owned()));
    assert_eq!(around("nobody"), None);
}

#[test]
fn a_chain_of_ten_thousand_is_no_deeper_than_one_of_two() {
    let name = |index: usize| format!("s{index:05}");
    let declare = |index: usize| Declared {
        name: name(index),
        needs: (index > 0).then(|| (name(index - 1), Need::Critical)).into_iter().collect(),
        status: (index == 0).then_some(CircuitOpen),
        is_enabled: true,
    };
    let graph = Graph::new((0..10_000).map(declare));
    let last = place(&graph, &name(9_999));
    assert_eq!((last.layer, last.status, last.cause.len()), (Some(9_999), Some(Unhealthy), MAX_CAUSE));
    assert_eq!((&last.cause[0], &last.cause[MAX_CAUSE - 1]), (&name(9_998), &name(0)), "both ends are told");
    assert_eq!(graph.impact(&name(0)).unhealthy.len(), 9_999);
}

/// What the rules say, by iterating them until nothing changes.
fn naive(services: &[Declared]) -> BTreeMap<String, Option<HealthStatus>> {
    let own =
        |service: &Declared| if service.is_enabled { service.status } else { service.status.max(Some(Unhealthy)) };
    let mut all: BTreeMap<_, _> = services.iter().map(|service| (service.name.clone(), own(service))).collect();
    loop {
        let before = all.clone();
        for service in services {
            for (needed, need) in &service.needs {
                let adds = match (before.get(needed).copied().flatten(), need) {
                    (Some(Unhealthy | CircuitOpen), Need::Critical) => Some(Unhealthy),
                    (Some(Unhealthy | CircuitOpen), Need::Optional) | (Some(Degraded), Need::Critical) => {
                        Some(Degraded)
                    }
                    _ => None,
                };
                let status = all.get_mut(&service.name).unwrap();
                *status = (*status).max(adds);
            }
        }
        if all == before {
            return all;
        }
    }
}

fn any_services() -> impl Strategy<Value = Vec<Declared>> {
    let status = prop_oneof![
        4 => Just(None), 4 => Just(Some(Healthy)), 1 => Just(Some(Degraded)), 1 => Just(Some(Unhealthy)), 1 => Just(Some(CircuitOpen))
    ];
    let needs = prop::collection::btree_map(0..12_usize, any::<bool>(), 0..4);
    prop::collection::vec((needs, status, prop::bool::weighted(0.9)), 1..12).prop_map(|services| {
        let declare = |(index, (needs, status, is_enabled)): (usize, (BTreeMap<usize, bool>, _, _))| {
            let need = |is_critical| if is_critical { Need::Critical } else { Need::Optional };
            let needs = needs.into_iter().filter(|(other, _)| *other != index);
            let needs = needs.map(|(other, is_critical)| (format!("s{other}"), need(is_critical))).collect();
            Declared { name: format!("s{index}"), needs, status, is_enabled }
        };
        services.into_iter().enumerate().map(declare).collect()
    })
}

proptest! {
    #[test]
    fn trouble_goes_as_the_rules_say(services in any_services()) {
        let expected = naive(&services);
        let graph = Graph::new(services.clone());
        for place in graph.places(|_| true).filter(|place| place.is_registered) {
            prop_assert_eq!(place.status, expected[&place.name], "{}", &place.name);
            // Each needs the next, and the last one is in trouble by itself.
            let mut at = place.name.clone();
            for next in &place.cause {
                let service = services.iter().find(|service| service.name == at).unwrap();
                prop_assert!(service.needs.iter().any(|(needed, _)| needed == next));
                at = next.clone();
            }
            if !place.cause.is_empty() {
                let cause = services.iter().find(|service| service.name == at).unwrap();
                prop_assert!(!cause.is_enabled || cause.status >= Some(Degraded));
            }
        }
    }

    /// An order exists for exactly what is neither in nor behind a cycle.
    #[test]
    fn layers_are_larger_than_those_of_what_is_needed(services in any_services()) {
        let graph = Graph::new(services.clone());
        let layers: BTreeMap<_, _> = layers(&graph).into_iter().collect();
        let in_cycles: BTreeSet<_> = graph.cycles().into_iter().flatten().collect();
        for service in &services {
            let needed: Option<Vec<_>> = service.needs.iter().map(|(needed, _)| layers[needed]).collect();
            match layers[&service.name] {
                Some(layer) => prop_assert_eq!(needed.map(|all| all.iter().max().map_or(0, |max| max + 1)), Some(layer)),
                None => prop_assert!(needed.is_none() || in_cycles.contains(&service.name)),
            }
        }
    }
}
