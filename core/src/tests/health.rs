//! Derived health against a model that remembers every call.

use super::property;
use crate::health::{HealthStatus, HealthWindow};
use crate::policy::HealthPolicy;
use crate::time::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

const BUCKETS: u64 = 12;

#[test]
fn agrees_with_a_model_that_remembers_everything() {
    let step = any::<u64>().prop_map(|bits| match bits & 7 {
        0..=5 => (Some(bits & 8 == 0), 0),
        6 => (None, bits >> 32),
        _ => (None, bits >> 28),
    });
    let window = (1_u64..300, 0_u32..30);
    property(300, (window, prop::collection::vec(step, 0..400)), |((seconds, minimum_calls), steps)| {
        let window = Duration::from_secs(seconds);
        let policy = HealthPolicy { window, minimum_calls, ..HealthPolicy::default() };
        let (health, mut calls, mut now) = (HealthWindow::new(&policy), Vec::new(), 1_u64 << 40);
        let width = window.as_nanos() as u64 / BUCKETS;
        for (call, nanos) in steps {
            now += nanos;
            if let Some(is_failure) = call {
                health.record(is_failure, Timestamp::from_nanos(now));
                calls.push((now / width, is_failure));
            }
            let inside = calls.iter().filter(|(tick, _)| now / width - tick < BUCKETS);
            let (all, failed) = (inside.clone().count(), inside.filter(|(_, is_failure)| *is_failure).count());
            let is_enough = all > 0 && all >= minimum_calls as usize;
            let expected = match failed * 100 {
                _ if !is_enough => HealthStatus::Healthy,
                failed if failed >= 50 * all => HealthStatus::Unhealthy,
                failed if failed > 20 * all => HealthStatus::Degraded,
                _ => HealthStatus::Healthy,
            };
            prop_assert_eq!(health.status(false, Timestamp::from_nanos(now), &policy), expected);
        }
        Ok(())
    });
}
