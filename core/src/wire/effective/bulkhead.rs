use super::super::origin::Word;
use super::merge::Merge;
use crate::policy::limits::{MAX_GLOBS, MAX_POOLS};
use crate::policy::{BulkheadPolicy, PoolPolicy};
use cofferdam_proto::v1;

pub(super) fn read(merge: &mut Merge, written: &v1::BulkheadPolicy, policy: &mut BulkheadPolicy) {
    let v1::BulkheadPolicy { max_concurrent, max_queue, max_wait, pools } = written;
    merge.set("bulkhead.max_concurrent", &mut policy.max_concurrent, *max_concurrent);
    merge.set("bulkhead.max_queue", &mut policy.max_queue, *max_queue);
    merge.duration("bulkhead.max_wait", *max_wait, &mut policy.max_wait);
    if !pools.is_empty() {
        merge.note("bulkhead.pools", Word::Listed);
        // One too many is enough for the check to refuse the list.
        let pools = pools.iter().take(MAX_POOLS + 1).enumerate();
        policy.pools = pools.map(|(index, pool)| read_pool(merge, &format!("bulkhead.pools[{index}]"), pool)).collect();
    }
}

fn read_pool(merge: &mut Merge, path: &str, written: &v1::BulkheadPool) -> PoolPolicy {
    let v1::BulkheadPool { name, max_concurrent, max_queue, max_wait, method_globs, isolate_breaker } = written;
    let mut policy = PoolPolicy::default();
    let globs = (!method_globs.is_empty()).then(|| method_globs.iter().take(MAX_GLOBS + 1).cloned().collect());
    merge.set(&format!("{path}.name"), &mut policy.name, Some(name.clone()));
    merge.set(&format!("{path}.method_globs"), &mut policy.method_globs, globs);
    merge.set(&format!("{path}.isolate_breaker"), &mut policy.isolate_breaker, isolate_breaker.then_some(true));
    merge.set(&format!("{path}.max_concurrent"), &mut policy.max_concurrent, *max_concurrent);
    merge.set(&format!("{path}.max_queue"), &mut policy.max_queue, *max_queue);
    merge.duration(&format!("{path}.max_wait"), *max_wait, &mut policy.max_wait);
    policy
}
