use std::time::Duration;

/// Turns outcomes into health. An open breaker is "circuit open" whatever the rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthPolicy {
    /// Error rate above which a service is degraded, in [0, 1]. Default 0.2.
    pub degraded_error_rate: f64,
    /// Error rate at or above which it is unhealthy, in [0, 1], not below the other. Default 0.5.
    pub unhealthy_error_rate: f64,
    /// Over which time, 1 s to 1 h. Default 60 s.
    pub window: Duration,
    /// Calls it takes to say anything but healthy. Default 10.
    pub minimum_calls: u32,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self { degraded_error_rate: 0.2, unhealthy_error_rate: 0.5, window: Duration::from_secs(60), minimum_calls: 10 }
    }
}
