//! Parts add up to the whole: whatever instances report, it makes no difference how they are spread over managers.

use std::{sync::Arc, time::Duration};

use cofferdam_core::{
    adaptive_limit::Load,
    breaker::State,
    health::HealthStatus,
    isolation::Part,
    latency::{CallLatencySnapshot, SparseLatency},
    policy::Policy,
    revision::Revision,
    stats::CounterSnapshot,
    wire::policy_hash,
};
use cofferdam_proto::v1;
use proptest::prelude::*;
use tokio::time::Instant;

use super::super::{ServicePart, Slot, TotalsPart};
use crate::{
    activity::Activity,
    instances::{Condition, Instances, Losses, Recoveries, Refusal, Report, Session, Transition},
    testing::key,
};

const MANAGERS: usize = 3;

/// What an instance does, and at which manager it is.
#[derive(Clone, Debug)]
struct Doing {
    manager: usize,
    calls: u64,
    failed: u64,
    latency_millis: Vec<u64>,
    open: bool,
    pool_half_open: bool,
    limit: u32,
    applied: bool,
    refused: bool,
    recovered_after: Option<u64>,
    methods: Vec<(u8, u64)>,
    dropped: u64,
}

fn doing() -> impl Strategy<Value = Doing> {
    let numbers = (0..MANAGERS, 0..1_000_u64, 0..100_u64, prop::collection::vec(0..70_000_u64, 0..6));
    let flags = (any::<bool>(), any::<bool>(), 0..50_u32, any::<bool>(), any::<bool>());
    let rest = (prop::option::of(1..600_u64), prop::collection::vec((0..3_u8, 1..9_u64), 0..3), 0..5_u64);
    (numbers, flags, rest).prop_map(|((manager, calls, failed, latency_millis), flags, rest)| {
        let (open, pool_half_open, limit, applied, refused) = flags;
        let (recovered_after, methods, dropped) = rest;
        Doing {
            manager,
            calls,
            failed,
            latency_millis,
            open,
            pool_half_open,
            limit,
            applied,
            refused,
            recovered_after,
            methods,
            dropped,
        }
    })
}

fn activity(calls: u64, failed: u64, latency_millis: &[u64]) -> Activity {
    let counters = CounterSnapshot { calls, failed, served_live: calls, ..CounterSnapshot::default() };
    let mut latency = SparseLatency::default();
    latency_millis.iter().for_each(|millis| latency.record(Duration::from_millis(*millis)));
    Activity { counters, latencies: CallLatencySnapshot { calls: latency, attempts: SparseLatency::default() } }
}

/// Has an instance do it.
fn act(session: &Session, index: usize, doing: &Doing, begin: Instant) {
    let payments = key("default/payments");
    let revision = Revision { epoch: 1, revision: 5 };
    let transition = |to, at| Transition { part: Part::Service, from: State::HalfOpen, to, at };
    let transitions = doing.recovered_after.map_or_else(Vec::new, |seconds| {
        let opened = begin + Duration::from_millis(index as u64);
        vec![transition(State::Open, opened), transition(State::Closed, opened + Duration::from_secs(seconds))]
    });
    if doing.applied {
        session.applied(&payments, revision, policy_hash(&Policy::default()));
    }
    if doing.refused {
        let (reason, field_path) = ("no".to_owned(), String::new());
        let refusal = Refusal { revision, reason, field_path, since: begin, is_contained: false };
        session.refused(&payments, refusal, None);
    }
    let breaker = if doing.open { State::Open } else { State::Closed };
    session.report(
        &payments,
        Report {
            activity: activity(doing.calls, doing.failed, &doing.latency_millis),
            methods: doing
                .methods
                .iter()
                .map(|(glob, calls)| (format!("M{glob}*"), activity(*calls, 0, &[])))
                .collect(),
            condition: Condition { breaker: Some(breaker), health: Some(HealthStatus::Healthy) },
            learned: Some(breaker),
            parts: if doing.pool_half_open { vec![(Part::Pool("read".into()), State::HalfOpen)] } else { Vec::new() },
            adaptive_limit: (doing.limit > 0).then_some(Load { limit: doing.limit, in_flight: doing.limit / 2 }),
            held: u32::from(doing.pool_half_open),
            rejections: Vec::new(),
            transitions,
            losses: Losses { transitions_dropped: doing.dropped, ..Losses::default() },
            is_registered: true,
        },
    );
}

fn part(instances: &Instances) -> ServicePart {
    let seen = instances.observe(
        &key("default/payments"),
        Revision { epoch: 1, revision: 5 },
        policy_hash(&Policy::default()),
    );
    let recent = Some(instances.over(&key("default/payments"), Duration::from_secs(60)));
    ServicePart { seen, executed: Activity::default(), recent }
}

/// As another manager gets it.
fn sent(part: &ServicePart) -> ServicePart {
    ServicePart::from(v1::ServicePart::from(part))
}

/// The last recovery was at some time; on the way, that becomes how long ago it was.
fn less_time(mut part: ServicePart) -> ServicePart {
    part.seen.recoveries.last = part.seen.recoveries.last.map(|(_, took)| (*ORIGIN, took));
    part
}

static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

proptest! {
    #[test]
    fn parts_add_up_to_the_whole(all in prop::collection::vec(doing(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let begin = runtime.block_on(async {
            // What breakers did is over when it is asked about.
            let begin = Instant::now();
            tokio::time::advance(Duration::from_secs(1000)).await;
            begin
        });
        let _context = runtime.enter();
        let whole = Arc::new(Instances::new(100, Duration::ZERO));
        let parts: [_; MANAGERS] = std::array::from_fn(|_| Arc::new(Instances::new(100, Duration::ZERO)));
        let mut sessions = Vec::new();
        for (index, doing) in all.iter().enumerate() {
            for instances in [&whole, &parts[doing.manager]] {
                let session = instances.connect(&format!("i{index:02}"), "app", key("default/a").namespace).unwrap();
                session.follow([(&key("default/payments"), true)]).unwrap();
                act(&session, index, doing, begin);
                sessions.push(session);
            }
        }
        let whole = less_time(part(&whole));
        for asked in 0..MANAGERS {
            let mut sum = part(&parts[asked]);
            for other in (0..MANAGERS).filter(|other| *other != asked) {
                sum.merge(sent(&part(&parts[other])));
            }
            prop_assert_eq!(&less_time(sum), &whole, "whichever manager is asked: {}", asked);
        }
    }
}

#[test]
fn totals_survive_the_way_and_a_service_that_is_open_at_two_managers_is_one() {
    let totals = |open: &[&str], calls| TotalsPart {
        total: activity(calls, 1, &[7]),
        recent: Some(activity(1, 0, &[])),
        recoveries: Recoveries::default(),
        losses: Losses { reports_missed: 2, ..Losses::default() },
        instances: 4,
        open: open.iter().map(|service| (*service).to_owned()).collect(),
        sdks: [("rust/1".to_owned(), 4)].into(),
    };
    let mut sum = totals(&["default/a", "default/b"], 10);
    sum.merge(TotalsPart::from(v1::TotalsPart::from(&totals(&["default/b", "default/c"], 5))));
    assert_eq!((sum.total.counters.calls, sum.total.latencies.calls.count(), sum.instances), (15, 2, 8));
    assert_eq!(sum.sdks, [("rust/1".to_owned(), 8)].into());
    assert_eq!((sum.open.len(), sum.losses.reports_missed, sum.recent.unwrap().counters.calls), (3, 4, 2));
}

#[test]
fn slots_of_managers_that_started_at_different_times_come_together() {
    let slot =
        |begin, seconds, calls| Slot { begin, length: Duration::from_secs(seconds), activity: activity(calls, 0, &[]) };
    let sent = |slot: &Slot| Slot::from(v1::HistorySlot::from(slot));
    let slots = vec![slot(1000, 10, 1), slot(1010, 4, 2), sent(&slot(1003, 10, 4)), sent(&slot(1013, 1, 8))];
    let together = Slot::together(slots, Duration::from_secs(10));
    assert_eq!(together, [slot(1000, 10, 5), slot(1010, 4, 10)]);
}
