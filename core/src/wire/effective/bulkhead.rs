use super::super::faults::{Faults, set};
use crate::policy::limits::{MAX_GLOBS, MAX_POOLS};
use crate::policy::{BulkheadPolicy, PoolPolicy};
use cofferdam_proto::v1;

pub(super) fn read(faults: &mut Faults, written: &v1::BulkheadPolicy, policy: &mut BulkheadPolicy) {
    let v1::BulkheadPolicy { max_concurrent, max_queue, max_wait, pools } = written;
    set(&mut policy.max_concurrent, *max_concurrent);
    set(&mut policy.max_queue, *max_queue);
    faults.duration("bulkhead.max_wait", *max_wait, &mut policy.max_wait);
    if !pools.is_empty() {
        // One too many is enough for the check to refuse the list.
        let pools = pools.iter().take(MAX_POOLS + 1).enumerate();
        policy.pools =
            pools.map(|(index, pool)| read_pool(faults, &format!("bulkhead.pools[{index}]"), pool)).collect();
    }
}

fn read_pool(faults: &mut Faults, path: &str, written: &v1::BulkheadPool) -> PoolPolicy {
    let v1::BulkheadPool { name, max_concurrent, max_queue, max_wait, method_globs, isolate_breaker } = written;
    let mut policy = PoolPolicy {
        name: name.clone(),
        method_globs: method_globs.iter().take(MAX_GLOBS + 1).cloned().collect(),
        isolate_breaker: *isolate_breaker,
        ..PoolPolicy::default()
    };
    set(&mut policy.max_concurrent, *max_concurrent);
    set(&mut policy.max_queue, *max_queue);
    faults.duration(&format!("{path}.max_wait"), *max_wait, &mut policy.max_wait);
    policy
}
