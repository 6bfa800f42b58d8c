use super::super::faults::Faults;
use crate::policy::RateLimitPolicy;
use cofferdam_proto::v1;

pub(super) fn read(faults: &mut Faults, written: v1::RateLimitPolicy, policy: &mut Option<RateLimitPolicy>) {
    let v1::RateLimitPolicy { permits, period, burst, max_wait } = written;
    if permits == 0 {
        // The rest says nothing without permits.
        faults.inert_duration("rate_limit.period", period);
        faults.inert_duration("rate_limit.max_wait", max_wait);
        *policy = None;
        return;
    }
    let mut limit = RateLimitPolicy { burst, ..RateLimitPolicy::per_second(permits) };
    faults.duration("rate_limit.period", period, &mut limit.period);
    faults.duration("rate_limit.max_wait", max_wait, &mut limit.max_wait);
    *policy = Some(limit);
}
