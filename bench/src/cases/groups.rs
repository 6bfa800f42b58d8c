//! The tables, and which case stands in which.

use super::{Case, calls, engine, failsafe, floors, isolation, parts, recloser, sentinel, tower_resilience};
use crate::memory::Subject;
use crate::report::Compare;
use cofferdam::Level;
use cofferdam_core::breaker::Breaker;
use cofferdam_core::policy::BreakerPolicy;

/// A table of cases.
pub struct Group {
    pub title: &'static str,
    pub cases: Vec<Case>,
    pub compare: Compare,
    /// With how many threads it is measured, each.
    pub threads: &'static [usize],
}

/// All tables of times.
pub fn groups() -> Vec<Group> {
    vec![
        group("Floors", Compare::Nothing, floors::cases()),
        group(
            "A call through a closed breaker that counts failures in a row",
            Compare::Ratio,
            vec![engine::closed_consecutive(), failsafe::closed_consecutive(), tower_resilience::closed_consecutive()],
        ),
        group(
            "A call through a closed breaker with a window",
            Compare::Ratio,
            vec![
                engine::closed_window(),
                engine::closed_count(),
                recloser::closed(),
                failsafe::closed_window(),
                tower_resilience::closed_window(),
                sentinel::closed_window(),
            ],
        ),
        group(
            "The same, looking at the latency of each call",
            Compare::Ratio,
            vec![
                engine::closed_latency(),
                engine::closed_latency_by_time_stamp(),
                tower_resilience::closed_latency(),
                sentinel::closed_latency(),
            ],
        ),
        group(
            "A call that fails, and does not open the breaker",
            Compare::Ratio,
            vec![
                engine::failing(),
                recloser::failing(),
                failsafe::failing(),
                tower_resilience::failing(),
                sentinel::failing(),
            ],
        ),
        group(
            "A call that an open breaker rejects",
            Compare::Ratio,
            vec![engine::open(), recloser::open(), failsafe::open(), tower_resilience::open(), sentinel::open()],
        ),
        Group {
            title: "An outage: fail until open, succeed until closed",
            compare: Compare::Ratio,
            cases: vec![engine::outage(), recloser::outage(), failsafe::outage(), tower_resilience::outage()],
            threads: &[1],
        },
        group(
            "A whole call, asynchronous, answered",
            Compare::Ratio,
            vec![
                calls::none(),
                calls::basic(),
                calls::enhanced(),
                calls::full(),
                tower_resilience::stack_basic().versus(calls::BASIC),
                tower_resilience::stack_enhanced().versus(calls::ENHANCED),
                tower_resilience::stack_full().versus(calls::FULL),
                failsafe::whole_call().versus(calls::ENHANCED),
                recloser::whole_call().versus(calls::ENHANCED),
            ],
        ),
        group("What each part adds to a whole call", Compare::Added, calls::parts()),
        group(
            "Parts of the engine by themselves",
            Compare::Nothing,
            vec![isolation::enhanced(), parts::counter(), parts::budget_deposit(), parts::health_record()],
        ),
    ]
}

/// All that memory is measured of.
pub fn subjects() -> Vec<Subject> {
    vec![
        breaker("Cofferdam breaker, consecutive failures", engine::consecutive_policy()),
        breaker("Cofferdam breaker, window of 30 s", engine::window_policy()),
        breaker("Cofferdam breaker, window of 100 calls", engine::count_policy()),
        Subject::new(
            "Cofferdam isolation of a service: breaker, retry budget, bulkhead, health, counters",
            |_| isolation::subject(Level::Full),
            isolation::call,
        ),
        Subject::new("recloser 1.4, window of 100 calls", |_| recloser::subject(), recloser::success),
        Subject::new("failsafe 1.3, consecutive failures", |_| failsafe::consecutive(), failsafe::success),
        Subject::new("failsafe 1.3, moving average over 30 s", |_| failsafe::average(), failsafe::success),
        Subject::new(
            "tower-resilience 0.14 breaker, window of 100 calls",
            |_| tower_resilience::subject(),
            tower_resilience::success,
        ),
        Subject::new(
            "tower-resilience 0.14 breaker, window of an hour",
            |_| tower_resilience::subject_of_time(),
            tower_resilience::success,
        ),
        Subject::new("sentinel-core 0.1, a resource and its rule", sentinel::subject, |name| sentinel::success(name)),
    ]
}

fn group(title: &'static str, compare: Compare, cases: Vec<Case>) -> Group {
    Group { title, cases, compare, threads: &[1, 2] }
}

fn breaker(name: &'static str, policy: BreakerPolicy) -> Subject {
    let called = policy.clone();
    Subject::new(name, move |_| Breaker::new(&policy), move |breaker| engine::success(breaker, &called))
}
