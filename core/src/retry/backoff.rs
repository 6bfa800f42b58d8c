//! The pause before a retry.

use crate::policy::{Jitter, RetryPolicy};
use std::time::Duration;

/// The pause before a retry; `retry` is 1 before the second attempt, and `random` any number, uniformly drawn.
///
/// The pause grows from `initial_backoff` by `multiplier` up to `max_backoff`, however high `retry` is; then comes the
/// jitter. `Equal` and `Full` never go above `max_backoff`; `PlusMinus` does, by up to its ratio. The pause is zero
/// only where `initial_backoff` or `max_backoff` is.
///
/// ```
/// use cofferdam_core::policy::{Jitter, RetryPolicy};
/// use cofferdam_core::retry::backoff;
/// use std::time::Duration;
///
/// let policy = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
/// assert_eq!(backoff(&policy, 1, 0), Duration::from_millis(100));
/// assert_eq!(backoff(&policy, 2, 0), Duration::from_millis(200));
/// assert_eq!(backoff(&policy, 1_000_000, 0), Duration::from_secs(2));
/// ```
pub fn backoff(policy: &RetryPolicy, retry: u32, random: u64) -> Duration {
    let pause = pause(policy, retry);
    Duration::from_nanos(match policy.jitter {
        Jitter::None => pause,
        Jitter::PlusMinus(ratio) => {
            // Of an unchecked policy, NaN becomes zero.
            let spread = (pause as f64 * ratio.clamp(0.0, 1.0)) as u64;
            (pause - spread.min(pause)).saturating_add(share(spread.saturating_mul(2), random))
        }
        Jitter::Equal => pause / 2 + share(pause - pause / 2, random),
        Jitter::Full => share(pause, random),
    })
}

/// The pause in nanoseconds, without jitter.
fn pause(policy: &RetryPolicy, retry: u32) -> u64 {
    let initial = nanos(policy.initial_backoff);
    let max = nanos(policy.max_backoff);
    // Zero times infinity is not a number.
    if initial == 0 {
        return 0;
    }
    let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
    // Out of range, the factor is infinite and the cast saturates. Of an unchecked policy, NaN becomes 1.
    let grown = (initial as f64 * policy.multiplier.max(1.0).powi(exponent)) as u64;
    grown.min(max)
}

/// A share of a whole, uniform in (0, whole]; zero of zero.
fn share(whole: u64, random: u64) -> u64 {
    let product = u128::from(whole) * (u128::from(random) + 1);
    // Rounded up, and never above the whole, for the second factor is at most 2^64.
    product.div_ceil(1 << 64) as u64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(initial: Duration, multiplier: f64, max: Duration, jitter: Jitter) -> RetryPolicy {
        RetryPolicy { initial_backoff: initial, multiplier, max_backoff: max, jitter, ..RetryPolicy::default() }
    }

    #[test]
    fn grows_to_its_maximum() {
        let policy = policy(Duration::from_millis(100), 3.0, Duration::from_secs(2), Jitter::None);
        let pauses: Vec<u128> = (1..6).map(|retry| backoff(&policy, retry, 7).as_millis()).collect();
        assert_eq!(pauses, [100, 300, 900, 2000, 2000]);
        assert_eq!(backoff(&policy, 0, 7), backoff(&policy, 1, 7));
    }

    #[test]
    fn jitter_covers_its_range() {
        let second = Duration::from_secs(1);
        let at = |jitter, random| backoff(&policy(second, 1.0, second, jitter), 1, random);
        assert_eq!(at(Jitter::Full, 0), Duration::from_nanos(1));
        assert_eq!(at(Jitter::Full, u64::MAX / 2), second / 2);
        assert_eq!(at(Jitter::Full, u64::MAX), second);
        assert_eq!(at(Jitter::Equal, 0), second / 2 + Duration::from_nanos(1));
        assert_eq!(at(Jitter::Equal, u64::MAX), second);
        assert_eq!(at(Jitter::PlusMinus(0.2), 0), second.mul_f64(0.8) + Duration::from_nanos(1));
        assert_eq!(at(Jitter::PlusMinus(0.2), u64::MAX / 2), second);
        assert_eq!(at(Jitter::PlusMinus(0.2), u64::MAX), second.mul_f64(1.2));
        assert_eq!(at(Jitter::PlusMinus(0.0), 0), second);
        assert_eq!(at(Jitter::PlusMinus(1.0), 0), Duration::from_nanos(1));
    }

    /// Seen in <https://github.com/connor4312/cockatiel/issues/86>,
    /// <https://github.com/Polly-Contrib/Polly.Contrib.WaitAndRetry/issues/24>.
    #[test]
    fn t30_the_millionth_pause_is_as_long_as_the_longest() {
        for (jitter, least, most) in [
            (Jitter::None, 2_000, 2_000),
            (Jitter::PlusMinus(0.2), 1_600, 2_400),
            (Jitter::Equal, 1_000, 2_000),
            (Jitter::Full, 1, 2_000),
        ] {
            let policy = policy(Duration::from_millis(1), 10.0, Duration::from_secs(2), jitter);
            for retry in [1_000_000, u32::MAX] {
                let pauses = [u64::MAX / 2_000, u64::MAX / 2, u64::MAX].map(|random| backoff(&policy, retry, random));
                assert!(pauses.iter().all(|pause| (least..=most).contains(&pause.as_millis())), "{pauses:?}");
            }
        }
    }

    #[test]
    fn no_pause_stays_no_pause() {
        for jitter in [Jitter::None, Jitter::PlusMinus(0.5), Jitter::Equal, Jitter::Full] {
            let policy = policy(Duration::ZERO, 10.0, Duration::from_secs(1), jitter);
            assert_eq!(backoff(&policy, u32::MAX, u64::MAX), Duration::ZERO);
        }
    }

    #[test]
    fn an_unchecked_policy_does_no_harm() {
        for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
            for jitter in [Jitter::PlusMinus(wild), Jitter::Full] {
                let policy = policy(Duration::from_millis(1), wild, Duration::from_secs(1), jitter);
                for retry in [0, 1, 2, u32::MAX] {
                    let pause = backoff(&policy, retry, u64::MAX);
                    assert!((Duration::from_nanos(1)..=Duration::from_secs(2)).contains(&pause), "{pause:?}");
                }
            }
        }
        let endless = policy(Duration::MAX, 10.0, Duration::MAX, Jitter::PlusMinus(1.0));
        assert_eq!(backoff(&endless, 3, u64::MAX), Duration::from_nanos(u64::MAX));
    }

    prop_compose! {
        fn any_policy()(
            initial in 1_u64..86_400_000_000_000,
            more in 0_u64..86_400_000_000_000,
            multiplier in 1.0_f64..=10.0,
            ratio in 0.0_f64..=1.0,
            jitter in 0..4,
        ) -> RetryPolicy {
            let jitter = match jitter {
                0 => Jitter::None,
                1 => Jitter::PlusMinus(ratio),
                2 => Jitter::Equal,
                _ => Jitter::Full,
            };
            policy(Duration::from_nanos(initial), multiplier, Duration::from_nanos(initial + more), jitter)
        }
    }

    proptest! {
        #[test]
        fn stays_within_bounds(policy in any_policy(), retry in 0..=1_000_000_u32, random in any::<u64>()) {
            let plain = backoff(&RetryPolicy { jitter: Jitter::None, ..policy.clone() }, retry, random);
            prop_assert!(plain >= policy.initial_backoff && plain <= policy.max_backoff);
            let pause = backoff(&policy, retry, random);
            prop_assert!(!pause.is_zero());
            match policy.jitter {
                Jitter::None => prop_assert_eq!(pause, plain),
                Jitter::PlusMinus(ratio) => {
                    let spread = plain.mul_f64(ratio) + Duration::from_micros(1);
                    prop_assert!(pause + spread >= plain && pause <= plain + spread);
                }
                Jitter::Equal => prop_assert!(pause > plain / 2 && pause <= plain),
                Jitter::Full => prop_assert!(pause <= plain),
            }
        }

        #[test]
        fn never_shrinks_from_retry_to_retry(policy in any_policy(), retry in 0..1_000_000_u32) {
            let policy = RetryPolicy { jitter: Jitter::None, ..policy };
            prop_assert!(backoff(&policy, retry, 0) <= backoff(&policy, retry + 1, 0));
        }
    }
}
