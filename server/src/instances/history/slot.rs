use cofferdam_core::{
    latency::CallLatencySnapshot,
    wire::{counters_from_wire, counters_to_wire, latency_from_wire, latency_to_wire},
};
use cofferdam_proto::v1;
use prost::Message;

use crate::activity::Activity;

/// What a slot costs beside its own bytes: its place in the queue, and what an allocator adds.
const OVERHEAD: usize = 48;

/// What happened in a slot, as an instance would report it: counters and buckets that count nothing take nothing.
#[derive(Debug)]
pub(super) struct Slot(Box<[u8]>);

impl Slot {
    pub(super) fn pack(activity: &Activity) -> Self {
        let Activity { counters, latencies: CallLatencySnapshot { calls, attempts } } = activity;
        let report = v1::ServiceReport {
            counters: Some(counters_to_wire(counters)),
            call_latency: latency_to_wire(calls),
            attempt_latency: latency_to_wire(attempts),
            ..v1::ServiceReport::default()
        };
        Self(report.encode_to_vec().into())
    }

    pub(super) fn unpack(&self) -> Activity {
        // Nobody else writes one, so each can be read.
        let report = v1::ServiceReport::decode(&*self.0).unwrap_or_default();
        let latency = |histogram: Option<&v1::LatencyHistogram>| latency_from_wire(histogram).unwrap_or_default();
        let latencies = CallLatencySnapshot {
            calls: latency(report.call_latency.as_ref()),
            attempts: latency(report.attempt_latency.as_ref()),
        };
        Activity { counters: counters_from_wire(&report.counters.unwrap_or_default()), latencies }
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() + OVERHEAD
    }
}
