use crate::level::Section;
use crate::policy::Policy;
use std::fmt;
use std::sync::Arc;

/// The part of a service that a breaker, places or a rate are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All that has none of its own.
    #[default]
    Service,
    /// A pool, by its name.
    Pool(Arc<str>),
    /// The methods of an override, by its glob.
    Methods(Arc<str>),
}

impl Part {
    /// The parts that have a breaker to themselves under a policy: pools, then overrides, in its order.
    pub fn with_own_breaker(policy: &Policy) -> Vec<Self> {
        if !policy.level.enforces(Section::CircuitBreaker) {
            return Vec::new();
        }
        let pools = policy.bulkhead.pools.iter();
        let pools = pools.filter(|pool| pool.isolate_breaker && policy.level.enforces(Section::Bulkhead));
        let overrides = policy.method_overrides.iter().filter(|entry| entry.breaker.is_some());
        let pools = pools.map(|pool| Self::Pool(pool.name.as_str().into()));
        pools.chain(overrides.map(|entry| Self::Methods(entry.glob.as_str().into()))).collect()
    }
}

/// As text: `service`, `pool readPool` or `methods Get*`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("service"),
            Self::Pool(name) => write!(f, "pool {name}"),
            Self::Methods(glob) => write!(f, "methods {glob}"),
        }
    }
}
