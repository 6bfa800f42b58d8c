use super::merge::Merge;
use crate::policy::HedgePolicy;
use cofferdam_proto::v1;

pub(super) fn read(merge: &mut Merge, written: v1::HedgePolicy, policy: &mut HedgePolicy) {
    let v1::HedgePolicy { delay, max_extra, percentile } = written;
    merge.duration("hedge.delay", delay, &mut policy.delay);
    merge.set("hedge.max_extra", &mut policy.max_extra, max_extra);
    // On the wire, unset and zero are one, and say nothing.
    merge.set("hedge.percentile", &mut policy.percentile, Some(percentile).filter(|percentile| *percentile != 0.0));
}
