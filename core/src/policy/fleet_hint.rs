use std::time::Duration;

/// Whether an instance trips sooner where others have tripped: see [`fleet_hint`](crate::fleet_hint).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetHintPolicy {
    /// What a hint does. Default off.
    pub mode: FleetHintMode,
    /// Instances whose breaker must have opened, 2 to 100000. Default 2: one instance never hints.
    pub min_open_instances: u32,
    /// Share of the instances that use the service which must have opened, in [0, 1]. Zero: the number alone decides.
    /// Default 0.5: the manager believes no minority.
    pub min_open_ratio: f64,
    /// How long a hint lasts; it is renewed for as long as enough instances are open. 1 s to 10 min. Default 30 s, the
    /// default open time of a breaker: an instance that opened for a hint is heard of before the hint is over.
    pub ttl: Duration,
}

/// What a fleet hint does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FleetHintMode {
    /// There is none.
    #[default]
    Off,
    /// It is told, and changes nothing.
    Advisory,
    /// It is told, and halves what a closed breaker waits for.
    Enforce,
}

impl FleetHintMode {
    /// Its name: `off`, `advisory` or `enforce`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Advisory => "advisory",
            Self::Enforce => "enforce",
        }
    }
}

impl Default for FleetHintPolicy {
    fn default() -> Self {
        Self { mode: FleetHintMode::Off, min_open_instances: 2, min_open_ratio: 0.5, ttl: Duration::from_secs(30) }
    }
}
