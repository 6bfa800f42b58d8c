//! The last calls to a service that were turned away.
//!
//! They are what happened, not how an instance is, so they outlast it; a manager keeps the last ones of each service. Of
//! those of one instance that differ in their time alone the last one is kept, so that one instance that turns everything
//! away leaves room for the others.

use cofferdam_core::{name::ServiceKey, wire::duration_to_wire};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::Instances;

/// The most that are kept of a service, and told of it.
pub(crate) const MAX_REJECTIONS: usize = 16;

/// The last rejections of a service, each with when it was.
#[derive(Debug, Default)]
pub(super) struct Rejections(Vec<(Instant, v1::RejectedCall)>);

impl Rejections {
    /// Takes in one that was at a time.
    pub(super) fn add(&mut self, at: Instant, call: v1::RejectedCall) {
        self.0.retain(|(_, known)| !is_alike(known, &call));
        self.0.push((at, call));
        if self.0.len() > MAX_REJECTIONS
            && let Some(oldest) = (0..self.0.len()).min_by_key(|&index| self.0.get(index).map(|(at, _)| *at))
        {
            self.0.swap_remove(oldest);
        }
    }
}

impl Instances {
    /// The last calls to a service that instances turned away, in no order.
    pub(crate) fn rejections(&self, key: &ServiceKey) -> Vec<v1::RejectedCall> {
        let inner = self.lock();
        let aged = |(at, call): &(Instant, v1::RejectedCall)| v1::RejectedCall {
            age: Some(duration_to_wire(at.elapsed())),
            ..call.clone()
        };
        inner.reported(key).map(|reported| reported.rejections.0.iter().map(aged).collect()).unwrap_or_default()
    }
}

/// As many as are told, the newest first, of those that several managers know. Of one instance that has moved from one to
/// another, each may know something alike.
pub(crate) fn newest(mut calls: Vec<v1::RejectedCall>) -> Vec<v1::RejectedCall> {
    calls.sort_by_key(|call| call.age.map(|age| (age.seconds, age.nanos)));
    let mut newest: Vec<v1::RejectedCall> = Vec::new();
    for call in calls {
        if newest.len() < MAX_REJECTIONS && newest.iter().all(|known| !is_alike(known, &call)) {
            newest.push(call);
        }
    }
    newest
}

/// Whether they are of one instance, and alike but for their time and what was counted.
fn is_alike(one: &v1::RejectedCall, other: &v1::RejectedCall) -> bool {
    what(one) == what(other)
}

fn what(call: &v1::RejectedCall) -> ([&str; 3], i32, Option<[&str; 2]>) {
    let breaker = call.breaker.as_ref().map(|breaker| [&*breaker.pool, &*breaker.method_glob]);
    ([&call.instance_id, &call.method, &call.pool], call.reason, breaker)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(instance: &str, method: &str) -> v1::RejectedCall {
        v1::RejectedCall { instance_id: instance.to_owned(), method: method.to_owned(), ..Default::default() }
    }

    fn aged(call: v1::RejectedCall, seconds: i64) -> v1::RejectedCall {
        v1::RejectedCall { age: Some(prost_types::Duration { seconds, nanos: 0 }), ..call }
    }

    #[test]
    fn the_newest_of_each_kind_are_kept_and_one_instance_does_not_push_out_the_others() {
        let begin = Instant::now();
        let mut kept = Rejections::default();
        kept.add(begin, call("quiet", "Get"));
        for second in 1..1000 {
            kept.add(begin + Duration::from_secs(second), call("loud", "Get"));
        }
        let seconds: Vec<u64> = kept.0.iter().map(|(at, _)| (*at - begin).as_secs()).collect();
        assert_eq!(seconds, [0, 999]);
        // A report that comes late tells of what was before.
        for second in (1..=20).rev() {
            kept.add(begin + Duration::from_secs(second), call("many", &format!("m{second}")));
        }
        assert_eq!(kept.0.len(), MAX_REJECTIONS);
        let oldest = kept.0.iter().map(|(at, _)| (*at - begin).as_secs()).min();
        assert_eq!(oldest, Some(6), "the newest of all, whenever they came");
    }

    #[test]
    fn what_several_managers_know_is_told_once_and_the_newest_first() {
        let known = vec![
            aged(call("moved", "Get"), 9),
            aged(call("here", "Get"), 5),
            aged(call("moved", "Get"), 2),
            aged(call("moved", "Put"), 7),
        ];
        let told = newest(known).into_iter().map(|call| (call.instance_id, call.method)).collect::<Vec<_>>();
        let expected = [("moved", "Get"), ("here", "Get"), ("moved", "Put")];
        assert_eq!(told, expected.map(|(instance, method)| (instance.to_owned(), method.to_owned())));
        let many = (0..100).map(|age| aged(call("a", &age.to_string()), age)).collect();
        assert_eq!(newest(many).len(), MAX_REJECTIONS);
    }
}
