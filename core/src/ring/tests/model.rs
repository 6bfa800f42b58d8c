//! Both kinds of rings against a model that keeps every count.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Counts one on a row, so many milliseconds before the newest time.
    Add {
        row: usize,
        late: u64,
    },
    /// Counts one of an earlier generation, or by the shape before.
    AddStale {
        row: usize,
        late: u64,
    },
    Advance(u64),
    NextGeneration,
    Reshape {
        buckets: u32,
        width: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let width = prop_oneof![Just(1), Just(7), Just(1_000)];
    prop_oneof![
        12 => (0_usize..3, 0_u64..50).prop_map(|(row, late)| Step::Add { row, late }),
        2 => (0_usize..3, 0_u64..50).prop_map(|(row, late)| Step::AddStale { row, late }),
        6 => (0_u64..20).prop_map(Step::Advance),
        1 => (0_u64..100_000).prop_map(Step::Advance),
        1 => Just(Step::NextGeneration),
        1 => (1_u32..61, width).prop_map(|(buckets, width)| Step::Reshape { buckets, width }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the clock, generations and shapes do: what was counted of the present ones within the window is there, and
    /// nothing else. One who comes late is counted where its tick is still in the window, and is dropped where not. A glance
    /// says the same as the sum.
    #[test]
    fn agree_with_a_list(start in 0_u64..1 << 40, steps in prop::collection::vec(step(), 1..300)) {
        let (ring, rows, decisive) = (Ring::new(), StripedRing::new(), DecisiveRing::new());
        let own: Vec<Cells> = (0..3).map(|_| Cells::default()).collect();
        let scale = Scale::new(Shape::new(MILLISECOND * 10, 10));
        let (mut now, mut generation) = (start, 0);
        let mut stale = scale.frame(0);
        let mut list: Vec<u64> = Vec::new();
        for step in steps {
            let frame = scale.frame(generation);
            match step {
                Step::Add { row, late } => {
                    let time = at(now.saturating_sub(late));
                    let tick = frame.tick(time);
                    ring.add(frame, tick);
                    if let Some(glance) = decisive.add(frame, time, |tick| rows.sum(frame, tick)) {
                        prop_assert_eq!(glance.sum, ring.sum(frame, tick));
                        prop_assert!(glance.companions <= rows.sum(frame, tick));
                    }
                    rows.add(frame, time);
                    own[row].at_for_writing(frame, tick).unwrap().add_own(frame.id(tick));
                    list.push(tick);
                }
                Step::AddStale { row, late } if stale != frame => {
                    let time = at(now.saturating_sub(late));
                    ring.add(stale, stale.tick(time));
                    decisive.add(stale, time, |tick| rows.sum(stale, tick));
                    rows.add(stale, time);
                    let tick = stale.tick(time);
                    own[row].at_for_writing(stale, tick).unwrap().add_own(stale.id(tick));
                }
                Step::AddStale { .. } => {}
                Step::Advance(millis) => now += millis,
                Step::NextGeneration => {
                    stale = frame;
                    generation += 1;
                    list.clear();
                }
                Step::Reshape { buckets, width } => {
                    scale.advance(Shape::new(MILLISECOND * width as u32 * buckets, buckets));
                    if scale.frame(generation) != frame {
                        stale = frame;
                        list.clear();
                    }
                }
            }
            let frame = scale.frame(generation);
            let newest = frame.tick(at(now));
            let oldest = (newest + 1).saturating_sub(frame.buckets().into());
            let expected = list.iter().filter(|tick| (oldest..=newest).contains(*tick)).count() as u64;
            prop_assert_eq!(ring.sum(frame, newest), expected);
            prop_assert_eq!(rows.sum(frame, newest), expected);
            prop_assert_eq!(decisive.sum(frame, newest), expected);
            prop_assert_eq!(own.iter().map(|cells| cells.sum(frame, newest)).sum::<u64>(), expected);
        }
    }
}
