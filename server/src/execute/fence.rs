//! What the manager may dial.
//!
//! A registration is not leave to be dialled: anybody may register `169.254.169.254:80`. The address that is really
//! dialled, after name resolution, must be on the operator's list, which holds the loopback addresses by default; and
//! it must be none of the manager's own, or a request could be made to chase itself.

use std::net::{IpAddr, SocketAddr};

/// What the manager may dial.
#[derive(Clone, Debug)]
pub struct Fence {
    own: Vec<SocketAddr>,
}

impl Fence {
    /// Loopback addresses, except those of the manager itself and of its store.
    pub fn loopback_except(own: Vec<SocketAddr>) -> Self {
        Self { own }
    }

    /// Whether a resolved address may be dialled.
    pub fn allows(&self, address: SocketAddr) -> bool {
        // An IPv4 address in IPv6 clothes is judged as what it is.
        let ip = address.ip().to_canonical();
        let is_own = |own: &SocketAddr| own.port() == address.port() && same_host(own.ip().to_canonical(), ip);
        ip.is_loopback() && !self.own.iter().any(is_own)
    }
}

/// Whether two addresses may be the same listener: a wildcard listens on all of them.
fn same_host(own: IpAddr, dialled: IpAddr) -> bool {
    own == dialled || own.is_unspecified() || (own.is_loopback() && dialled.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_never_ourselves() {
        let fence = Fence::loopback_except(vec!["127.0.0.1:7420".parse().unwrap()]);
        for allowed in ["127.0.0.1:50051", "127.8.9.1:80", "[::1]:50051"] {
            assert!(fence.allows(allowed.parse().unwrap()), "{allowed}");
        }
        for refused in [
            "127.0.0.1:7420",
            "[::1]:7420",
            "[::ffff:127.0.0.1]:7420",
            "169.254.169.254:80",
            "[fd00:ec2::254]:80",
            "0.0.0.0:80",
            "[::]:80",
            "10.0.0.1:80",
            "[::ffff:169.254.169.254]:80",
            "8.8.8.8:53",
        ] {
            assert!(!fence.allows(refused.parse().unwrap()), "{refused}");
        }
    }

    #[test]
    fn a_wildcard_listener_is_ourselves_on_every_address() {
        let fence = Fence::loopback_except(vec!["0.0.0.0:7420".parse().unwrap()]);
        assert!(!fence.allows("127.0.0.1:7420".parse().unwrap()));
        assert!(fence.allows("127.0.0.1:7421".parse().unwrap()));
    }
}
