use std::fmt;
use std::sync::Arc;

/// The part of a service that a breaker, places or a rate are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// All that has none of its own.
    #[default]
    Service,
    /// A pool, by its name.
    Pool(Arc<str>),
    /// The methods of an override, by its glob.
    Methods(Arc<str>),
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
