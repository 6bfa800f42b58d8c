use super::{Happening, Rejections, Report};
use cofferdam_core::isolation::Part;
use serde_json::{Map, Value, json};
use std::time::Duration;

impl Report {
    /// The same for programs: times are seconds, as in a trace. Happenings past the limit are counted.
    pub(in crate::commands::simulate) fn document(&self, policy: &str, limit: usize) -> Value {
        let counters = &self.counters;
        let mut events: Vec<_> = self.happenings().iter().map(event).collect();
        let left_out = events.len().saturating_sub(limit);
        events.truncate(limit);
        let latency = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
        let latency = latency.map(|(name, share)| (name.to_owned(), json!(self.latency.quantile(share).map(seconds))));
        json!({
            "policy": policy,
            "seconds": seconds(self.took),
            "calls": counters.calls,
            "served": {
                "live": counters.served_live,
                "cached": counters.served_cached,
                "static": counters.served_static,
                "alternative": counters.served_alternative,
                "degraded": counters.served_degraded,
            },
            "failed": counters.failed,
            "attempts": counters.attempts,
            "retries": counters.retries,
            "retries_refused": counters.retries_refused,
            "hedges": counters.hedges,
            "timeouts": counters.timeouts,
            "rejected": {
                "open": counters.rejected_open,
                "bulkhead": counters.rejected_bulkhead,
                "adaptive_limit": counters.rejected_adaptive_limit,
                "rate_limit": counters.rejected_rate_limit,
                "deadline": counters.rejected_deadline,
                "disabled": counters.rejected_disabled,
            },
            "breakers_opened": counters.breaker_opened,
            "latency": latency.into_iter().collect::<Map<_, _>>(),
            "events": events,
            "events_left_out": left_out,
        })
    }
}

fn event(happening: &Happening<'_>) -> Value {
    match happening {
        Happening::Moved(at, part, transition) => json!({
            "at": seconds(*at),
            "breaker": breaker(part),
            "from": transition.from.name(),
            "to": transition.to.name(),
            "cause": transition.cause.name(),
            "is_enforced": transition.is_enforced,
        }),
        Happening::Rejected(Rejections { first, last, calls, answered, why }) => json!({
            "at": seconds(*first),
            "until": seconds(*last),
            "rejected": calls,
            "answered": answered,
            "why": why.name(),
        }),
    }
}

fn breaker(part: &Part) -> Value {
    match part {
        Part::Service => json!({"part": "service"}),
        Part::Pool(name) => json!({"part": "pool", "name": &**name}),
        Part::Methods(glob) => json!({"part": "methods", "name": &**glob}),
    }
}

/// Rounded to the microsecond, which is finer than any trace.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}
