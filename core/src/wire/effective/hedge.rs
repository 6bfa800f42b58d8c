use super::super::faults::{Faults, set};
use crate::policy::HedgePolicy;
use cofferdam_proto::v1;

pub(super) fn read(faults: &mut Faults, written: v1::HedgePolicy, policy: &mut HedgePolicy) {
    let v1::HedgePolicy { delay, max_extra, percentile } = written;
    faults.duration("hedge.delay", delay, &mut policy.delay);
    set(&mut policy.max_extra, max_extra);
    // On the wire, unset and zero are one, and say nothing.
    set(&mut policy.percentile, Some(percentile).filter(|percentile| *percentile != 0.0));
}
