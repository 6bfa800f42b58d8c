//! A page of metrics that is being written.

use std::{fmt, time::Duration};

use cofferdam_core::latency::SparseLatency;
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::{
    buckets,
    catalogue::{Family, Kind},
};

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Takes metrics, family by family.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

/// Takes the samples of one family.
pub(super) struct Samples<'a>(MetricEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a family, with whatever samples `write` has for it.
    pub(super) fn family(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let (name, unit) = match family.name.strip_suffix("_seconds") {
            Some(name) => (name, Some(Unit::Seconds)),
            None => (family.name, None),
        };
        write(&mut Samples(self.0.encode_descriptor(name, family.help, unit.as_ref(), kind)?))
    }

    /// Writes a counter without labels.
    pub(super) fn counter(&mut self, family: &Family, count: u64) -> fmt::Result {
        self.family(family, |samples| samples.count(&[], count))
    }

    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, family: &Family, value: usize) -> fmt::Result {
        self.family(family, |samples| samples.value(&[], value as u64))
    }
}

impl Samples<'_> {
    /// A sample of a counter.
    pub(super) fn count(&mut self, labels: Labels<'_>, count: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&count, None)
    }

    /// A sample of a gauge.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A sample of a gauge that is a time.
    pub(super) fn seconds(&mut self, labels: Labels<'_>, time: Duration) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&time.as_secs_f64())
    }

    /// A histogram of times.
    pub(super) fn times(&mut self, labels: Labels<'_>, times: &SparseLatency) -> fmt::Result {
        let buckets = buckets::latencies(times);
        self.histogram(labels, times.sum().as_secs_f64(), times.count(), &buckets)
    }

    /// A histogram of counts by upper bound.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        sum: f64,
        count: u64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}
