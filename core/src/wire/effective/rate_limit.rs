use super::super::origin::Word;
use super::merge::Merge;
use crate::policy::RateLimitPolicy;
use cofferdam_proto::v1;

pub(super) fn read(merge: &mut Merge, written: v1::RateLimitPolicy, policy: &mut Option<RateLimitPolicy>) {
    let v1::RateLimitPolicy { permits, period, burst, max_wait } = written;
    if permits == 0 {
        // The rest says nothing without permits.
        merge.inert_duration("rate_limit.period", period);
        merge.inert_duration("rate_limit.max_wait", max_wait);
        *policy = None;
        return;
    }
    let mut limit = RateLimitPolicy::per_second(permits);
    merge.note("rate_limit.permits", Word::Written);
    merge.set("rate_limit.burst", &mut limit.burst, Some(burst).filter(|burst| *burst > 0));
    merge.duration("rate_limit.period", period, &mut limit.period);
    merge.duration("rate_limit.max_wait", max_wait, &mut limit.max_wait);
    *policy = Some(limit);
}
