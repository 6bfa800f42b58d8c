use super::faults::Faults;
use crate::policy::InvalidPolicy;
use crate::policy::limits::{MAX_ATTEMPTS, MAX_DURATION};
use cofferdam_proto::v1;
use std::time::Duration;

/// The shortest timeout of a call that has one.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Writes a fallback configuration through to the policy that it stands for. What it leaves unset stays as it is; a
/// chain without `enabled` is in use from then on, as in a policy.
///
/// Only what it reads itself is checked, which is all but the steps of the chain: [`effective_policy`] checks the policy
/// as a whole afterwards.
///
/// # Errors
///
/// [`InvalidPolicy`], and the policy is as it was. Paths begin with `fallback.`, for example `fallback.max_retries`: the
/// field is called so in every request that has one. The steps are copied as they are to `fallback.chain` of the policy,
/// so a fault that [`effective_policy`] finds there has the path that it has in the request, too.
///
/// [`effective_policy`]: super::effective_policy
pub fn apply_fallback_config(
    written: &mut v1::IsolationPolicy,
    config: &v1::FallbackConfig,
) -> Result<(), InvalidPolicy> {
    let v1::FallbackConfig { enabled, chain, max_retries, retry_delay, timeout, circuit_breaker } = config;
    let mut faults = Faults::default();
    if max_retries.is_some_and(|retries| retries >= MAX_ATTEMPTS) {
        faults.invalid("fallback.max_retries", format_args!("must be at most {}", MAX_ATTEMPTS - 1));
    }
    let delay = check_duration(&mut faults, "fallback.retry_delay", *retry_delay, Duration::ZERO);
    check_duration(&mut faults, "fallback.timeout", *timeout, MIN_TIMEOUT);
    faults.finish()?;

    if enabled.is_some() || !chain.is_empty() {
        let fallback = written.fallback.get_or_insert_default();
        fallback.enabled = *enabled;
        if !chain.is_empty() {
            fallback.chain.clone_from(chain);
        }
    }
    if let Some(retries) = max_retries {
        written.retry.get_or_insert_default().max_attempts = Some(retries.saturating_add(1));
    }
    if let Some(delay) = delay {
        let retry = written.retry.get_or_insert_default();
        retry.initial_backoff = *retry_delay;
        // Unset, it follows by itself; unreadable, it is for the check of the whole to say so.
        let longest = retry.max_backoff.and_then(|longest| super::duration_from_wire(longest).ok());
        if longest.is_some_and(|longest| longest < delay) {
            retry.max_backoff = *retry_delay;
        }
    }
    if timeout.is_some() {
        written.timeout.get_or_insert_default().call_timeout = *timeout;
    }
    if let Some(enabled) = circuit_breaker {
        let mode = if *enabled { v1::BreakerMode::Auto } else { v1::BreakerMode::Disabled };
        written.circuit_breaker.get_or_insert_default().set_mode(mode);
    }
    Ok(())
}

/// Zero has a meaning of its own, whatever the least other value.
fn check_duration(
    faults: &mut Faults,
    path: &str,
    written: Option<prost_types::Duration>,
    min: Duration,
) -> Option<Duration> {
    let duration = super::duration_from_wire(written?);
    match duration {
        Ok(duration) if duration.is_zero() || (min..=MAX_DURATION).contains(&duration) => Some(duration),
        Ok(duration) => {
            faults.invalid(path, format_args!("must be in [{min:?}, 24h], not {duration:?}"));
            None
        }
        Err(fault) => {
            faults.invalid(path, fault);
            None
        }
    }
}

#[cfg(test)]
mod tests;
