//! Sections of the contract that this release does not enforce: only their "off" is taken.

use super::super::faults::Faults;
use cofferdam_proto::v1;

pub(super) fn hedge(faults: &mut Faults, written: &v1::HedgePolicy) {
    let v1::HedgePolicy { delay, max_extra, percentile } = written;
    let delay = faults.inert_duration("hedge.delay", *delay);
    faults.not_in_force(!delay.is_zero(), "hedge.delay");
    // How many says nothing without when.
    if let Some(max_extra) = max_extra.filter(|max_extra| !(1..=4).contains(max_extra)) {
        faults.invalid("hedge.max_extra", format_args!("must be in [1, 4], not {max_extra}"));
    }
    if (0.0..1.0).contains(percentile) {
        faults.not_in_force(*percentile > 0.0, "hedge.percentile");
    } else {
        faults.invalid("hedge.percentile", format_args!("must be in [0, 1), not {percentile}"));
    }
}
