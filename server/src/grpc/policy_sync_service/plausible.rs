//! Numbers that nobody can have counted since the last report. A difference that was taken the wrong way round is close to
//! 2^64; one such would hide all that others report, for as long as the manager runs.

use cofferdam_core::{stats::Counter, wire::counters_from_wire};
use cofferdam_proto::v1;

use crate::registry::validate::Faults;

/// The largest number of a report: a million a second for twelve days.
pub(super) const MOST: u64 = 1 << 40;

/// Names the counters of a report that are larger.
pub(super) fn check(faults: &mut Faults, report: &v1::SyncReport) {
    for (index, service) in report.services.iter().enumerate() {
        if let Some(counter) = too_large(service.counters.as_ref()) {
            refuse(faults, &format!("report.services[{index}].counters.{}", counter.name()));
        }
        for (place, method) in service.methods.iter().enumerate() {
            if let Some(counter) = too_large(method.counters.as_ref()) {
                refuse(faults, &format!("report.services[{index}].methods[{place}].counters.{}", counter.name()));
            }
        }
    }
}

fn too_large(counters: Option<&v1::CallCounters>) -> Option<Counter> {
    let counters = counters_from_wire(counters?);
    Counter::ALL.into_iter().find(|counter| counters.get(*counter) > MOST)
}

fn refuse(faults: &mut Faults, path: &str) {
    faults.add(path, format!("must be at most {MOST}: say what has happened since the last report"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_was_taken_the_wrong_way_round_is_named() {
        let counters = |calls| Some(v1::CallCounters { attempts: calls, ..Default::default() });
        let method = v1::MethodReport { counters: counters(MOST + 1), ..Default::default() };
        let good = v1::ServiceReport { counters: counters(MOST), ..Default::default() };
        let bad = v1::ServiceReport { counters: counters(u64::MAX), methods: vec![method], ..Default::default() };
        let mut faults = Faults::default();
        check(&mut faults, &v1::SyncReport { services: vec![good, bad], ..Default::default() });
        let told = format!("{:?}", faults.into_error());
        for path in ["report.services[1].counters.attempts", "report.services[1].methods[0].counters.attempts"] {
            assert!(told.contains(path), "no {path} in {told}");
        }
        assert!(!told.contains("services[0]"), "{told}");
    }
}
