//! How many connections there may be, and of whom.
//!
//! The last places are kept for operators. Who is one shows only when a request comes, so whoever gets such a place may
//! stay there, and only an instance that asks for a stream by it is sent away: so an operator can always look into a
//! manager that has all the instances it takes, and no flood of instances keeps the places for long.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ListenerOptions;

/// The part of an IPv6 address that says who somebody is; the other half is theirs to choose.
const NETWORK_BITS: u128 = !0 << 64;

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    unreserved: usize,
    max_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
    refused_for_all: u64,
    refused_for_one: u64,
}

/// The connections of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Open ones.
    pub connections: usize,
    /// Those that were closed as they came, because there were too many of all.
    pub refused_for_all: u64,
    /// Those that were closed as they came, because there were too many from their address.
    pub refused_for_one: u64,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: IpAddr,
    /// For one that is kept for operators: how many are not.
    pub(super) is_beyond: Option<usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("limits.max_connections is reached")]
    ForAnybody,
    #[error("limits.max_connections_per_ip is reached")]
    ForThisAddress,
}

impl Places {
    pub(super) fn new(options: &ListenerOptions) -> Arc<Self> {
        Arc::new(Self {
            max: options.max_connections,
            unreserved: options.max_connections.saturating_sub(options.reserved_connections),
            max_of_one: options.max_connections_per_ip,
            taken: Mutex::default(),
        })
    }

    /// A place for somebody at this address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, NoPlace> {
        let network = network(address);
        let mut taken = self.lock();
        if taken.total >= self.max {
            taken.refused_for_all = taken.refused_for_all.saturating_add(1);
            return Err(NoPlace::ForAnybody);
        }
        let of_one = taken.by_network.get(&network).copied().unwrap_or_default();
        if of_one >= self.max_of_one {
            taken.refused_for_one = taken.refused_for_one.saturating_add(1);
            return Err(NoPlace::ForThisAddress);
        }
        taken.by_network.insert(network, of_one + 1);
        let is_beyond = (taken.total >= self.unreserved).then_some(self.unreserved);
        taken.total += 1;
        Ok(Place { places: Arc::clone(self), network, is_beyond })
    }

    /// How many places are taken, and how many there were none for.
    pub(super) fn occupancy(&self) -> Occupancy {
        let Taken { total, refused_for_all, refused_for_one, .. } = &*self.lock();
        Occupancy { connections: *total, refused_for_all: *refused_for_all, refused_for_one: *refused_for_one }
    }

    /// Nothing between two steps of a change can panic: a poisoned count is whole.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Entry::Occupied(mut of_one) = taken.by_network.entry(self.network) {
            *of_one.get_mut() = of_one.get().saturating_sub(1);
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
    }
}

/// Whose address it is: an IPv4 address, or the network of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & NETWORK_BITS).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max_connections: usize, reserved_connections: usize, max_connections_per_ip: usize) -> Arc<Places> {
        let bounds = ListenerOptions::default();
        Places::new(&ListenerOptions { max_connections, reserved_connections, max_connections_per_ip, ..bounds })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_places_are_reserved_and_free_again_when_they_are_left() {
        let places = places(3, 1, 10);
        let all: Vec<_> = (0..3).map(|_| places.take(ip("10.0.0.1")).unwrap()).collect();
        assert_eq!(all.iter().map(|place| place.is_beyond).collect::<Vec<_>>(), [None, None, Some(2)]);
        assert_eq!(places.take(ip("10.0.0.2")).unwrap_err(), NoPlace::ForAnybody);
        let occupied = Occupancy { connections: 3, refused_for_all: 1, refused_for_one: 0 };
        assert_eq!(places.occupancy(), occupied);
        drop(all);
        assert_eq!(places.take(ip("10.0.0.2")).unwrap().is_beyond, None);
        assert!(places.lock().by_network.is_empty());
        assert_eq!(places.occupancy(), Occupancy { connections: 0, ..occupied });
    }

    #[test]
    fn one_address_gets_no_more_than_its_share_however_it_is_written() {
        let places = places(10, 1, 1);
        let mut refused = 0;
        for (one, same, other) in
            [("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::ffff:1:2:3", "2001:db8:0:1::1")]
        {
            let _place = places.take(ip(one)).unwrap();
            assert_eq!(places.take(ip(same)).unwrap_err(), NoPlace::ForThisAddress);
            refused += 1;
            assert_eq!(places.occupancy().refused_for_one, refused);
            assert!(places.take(ip(other)).is_ok());
        }
    }
}
