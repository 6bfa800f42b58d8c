use std::collections::{BTreeMap, BTreeSet};

use cofferdam_core::name::{Name, ServiceKey};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{Graph, Node, Settled, Wanted};
use crate::error::Error;

/// The alternatives of each service that there is.
type State = BTreeMap<ServiceKey, BTreeSet<Name>>;

fn key(number: usize) -> ServiceKey {
    crate::testing::key(&format!("default/s-{number:03}"))
}

fn settle(now: &State, wanted: &BTreeMap<ServiceKey, Option<BTreeSet<Name>>>, limit: usize) -> Settled {
    let keys: BTreeSet<_> = now.keys().chain(wanted.keys()).collect();
    let node = |key| Node {
        key,
        now: now.get(key).map(|alternatives| alternatives.iter().collect()),
        wanted: wanted.get(key).map(|then| then.as_ref().map_or(Wanted::Remove, Wanted::Restore)),
    };
    Graph { nodes: keys.into_iter().map(node).collect() }.settle(now.len(), limit)
}

/// Whether every alternative is there and none leads back.
fn check(state: &State) -> Result<(), String> {
    let mut open: BTreeMap<_, _> = state.iter().collect();
    while !open.is_empty() {
        let mut leaves = Vec::new();
        for (key, alternatives) in &open {
            let of = |name: &Name| ServiceKey { namespace: key.namespace.clone(), name: name.clone() };
            if let Some(missing) = alternatives.iter().find(|name| !state.contains_key(&of(name))) {
                return Err(format!("{key} names {missing}, which is not there"));
            }
            if !alternatives.iter().any(|name| open.contains_key(&of(name))) {
                leaves.push((*key).clone());
            }
        }
        if leaves.is_empty() {
            return Err(format!("{:?} lead back", open.keys()));
        }
        open.retain(|key, _| !leaves.contains(key));
    }
    Ok(())
}

/// A sound state of some of these services: alternatives go one way along an order of its own.
fn any_state(random: &mut SmallRng, services: usize) -> State {
    let mut order: Vec<_> = (0..services).collect();
    for index in (1..services).rev() {
        order.swap(index, random.random_range(0..=index));
    }
    let mut state = State::new();
    for number in order.into_iter().filter(|_| random.random_bool(0.8)).collect::<Vec<_>>() {
        let names: Vec<_> = state.keys().map(|key| key.name.clone()).collect();
        let count = if names.is_empty() { 0 } else { random.random_range(0..3) };
        let alternatives = (0..count).map(|_| names[random.random_range(0..names.len())].clone()).collect();
        state.insert(key(number), alternatives);
    }
    state
}

#[test]
fn every_part_of_the_order_is_sound_from_any_state_to_any_other() {
    let mut whole = 0;
    for seed in 0..400 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (now, then) = (any_state(&mut random, 24), any_state(&mut random, 24));
        // Some stay as they are, whatever they were: left alone, or not readable.
        let keys: BTreeSet<_> = now.keys().chain(then.keys()).cloned().collect();
        let is_all = random.random_bool(0.5);
        let wanted: BTreeMap<_, _> = keys
            .into_iter()
            .filter(|key| now.get(key) != then.get(key) && (is_all || random.random_bool(0.7)))
            .map(|key| (key.clone(), then.get(&key).cloned()))
            .collect();
        let settled = settle(&now, &wanted, usize::MAX);
        assert_eq!(settled.order.len() + settled.refused.len(), wanted.len(), "seed {seed}");
        if is_all {
            assert!(settled.refused.is_empty(), "seed {seed}: {:?}", settled.refused);
            whole += 1;
        }
        let mut state = now;
        for key in settled.order {
            match wanted[&key].clone() {
                Some(alternatives) => drop(state.insert(key.clone(), alternatives)),
                None => drop(state.remove(&key)),
            }
            check(&state).unwrap_or_else(|wrong| panic!("seed {seed}, after {key}: {wrong}"));
        }
        if is_all {
            assert_eq!(state, then, "seed {seed}");
        }
    }
    assert!(whole > 100, "too few went from one state to another as a whole: {whole}");
}

#[test]
fn what_depends_on_what_is_refused_is_refused_in_turn() {
    let names = |numbers: &[usize]| numbers.iter().map(|number| key(*number).name).collect::<BTreeSet<_>>();
    // 1 -> 2 -> 3, and 3 is not there; 4 stays and names 5, which is to go.
    let now = State::from([(key(4), names(&[5])), (key(5), names(&[]))]);
    let wanted =
        BTreeMap::from([(key(1), Some(names(&[2]))), (key(2), Some(names(&[3]))), (key(5), None), (key(6), None)]);
    let settled = settle(&now, &wanted, usize::MAX);
    let refused: BTreeMap<_, _> = settled.refused.iter().map(|(key, error)| (key.clone(), error.to_string())).collect();
    assert!(refused[&key(2)].contains("s-003 is not"), "{refused:?}");
    assert!(refused[&key(1)].contains("s-002 is not"), "{refused:?}");
    assert!(refused[&key(5)].contains("the alternative of s-004"), "{refused:?}");
    assert_eq!(settled.order, [key(6)]);
}

#[test]
fn of_what_would_lead_back_as_little_as_possible_is_refused() {
    let names = |numbers: &[usize]| numbers.iter().map(|number| key(*number).name).collect::<BTreeSet<_>>();
    // 1 stays and leads to 2, which is to lead to 3 and that to 1.
    let now = State::from([(key(1), names(&[2])), (key(2), names(&[])), (key(3), names(&[]))]);
    let wanted = BTreeMap::from([(key(2), Some(names(&[3]))), (key(3), Some(names(&[1])))]);
    let settled = settle(&now, &wanted, usize::MAX);
    assert_eq!(settled.order, [key(3)]);
    let (refused, error) = &settled.refused[0];
    assert_eq!((refused, settled.refused.len()), (&key(2), 1));
    assert!(error.to_string().contains("must not lead back: s-002 -> s-003 -> s-001 -> s-002"), "{error}");
}

#[test]
fn what_goes_makes_room_for_what_comes_and_not_for_more() {
    let now = State::from([(key(1), BTreeSet::new()), (key(2), BTreeSet::new())]);
    let come = || Some(BTreeSet::new());
    let wanted = BTreeMap::from([(key(1), None), (key(3), come()), (key(4), come())]);
    let settled = settle(&now, &wanted, 2);
    assert_eq!(settled.order, [key(3), key(1)]);
    assert!(matches!(settled.refused[..], [(_, Error::QuotaExceeded { .. })]), "{:?}", settled.refused);
}
