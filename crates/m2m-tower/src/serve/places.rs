//! `Places`: who has room, in all and by address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::ServeLimits;

/// How many connections there are, and from where. Taken and given back once a connection, never a request.
#[derive(Debug)]
pub(super) struct Places {
    limits: ServeLimits,
    table: Mutex<Table>,
}

/// Has an entry for each address that has a connection, so no more than there are connections.
#[derive(Debug, Default)]
struct Table {
    all: Held,
    networks: HashMap<Network, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: usize,
    openings: usize,
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// The upper half: who has one address of a /64 has them all.
    V6(u64),
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Connections,
    Openings,
    Address,
}

/// Room for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: Network,
    opening: bool,
}

impl Places {
    pub(super) fn new(limits: ServeLimits) -> Self {
        Self {
            limits,
            table: Mutex::default(),
        }
    }

    /// Room for a connection from `address`, which is opening.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let limits = &self.limits;
        let network = Network::of(address);
        let mut table = self.lock();
        let here = table.networks.get(&network).copied().unwrap_or_default();
        if table.all.connections >= limits.connections {
            return Err(Full::Connections);
        }
        // Before the openings in all: who takes too many of them is to be told from the others.
        if here.connections >= limits.connections_by_address
            || here.openings >= limits.openings_by_address
        {
            return Err(Full::Address);
        }
        if table.all.openings >= limits.openings {
            return Err(Full::Openings);
        }
        table.all.add();
        table.networks.entry(network).or_default().add();
        drop(table);
        Ok(Place {
            places: Arc::clone(self),
            network,
            opening: true,
        })
    }

    /// How many connections there are, and how many of them are opening.
    pub(super) fn held(&self) -> (usize, usize) {
        let all = self.lock().all;
        (all.connections, all.openings)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    const fn add(&mut self) {
        self.connections += 1;
        self.openings += 1;
    }

    const fn opened(&mut self) {
        self.openings = self.openings.saturating_sub(1);
    }

    const fn left(&mut self, opening: bool) {
        self.connections = self.connections.saturating_sub(1);
        if opening {
            self.opened();
        }
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Place {
    /// The connection is not opening any more.
    pub(super) fn opened(&mut self) {
        if !std::mem::replace(&mut self.opening, false) {
            return;
        }
        let mut table = self.places.lock();
        table.all.opened();
        if let Some(here) = table.networks.get_mut(&self.network) {
            here.opened();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        table.all.left(self.opening);
        if let Entry::Occupied(mut here) = table.networks.entry(self.network) {
            here.get_mut().left(self.opening);
            if here.get().connections == 0 {
                here.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn places(limits: ServeLimits) -> Arc<Places> {
        Arc::new(Places::new(limits))
    }

    fn from(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn one_address_does_not_take_all_places() {
        let limits = ServeLimits::new().with_connections(5).with_openings(4, 2);
        let places = places(limits.with_connections_by_address(3));
        let mut first = places.take(from("192.0.2.1")).unwrap();
        let second = places.take(from("::ffff:192.0.2.1")).unwrap();
        // Two are opening from there; another address is not concerned.
        assert_eq!(places.take(from("192.0.2.1")).err(), Some(Full::Address));
        let other = places.take(from("192.0.2.2")).unwrap();
        first.opened();
        first.opened();
        let third = places.take(from("192.0.2.1")).unwrap();
        assert_eq!(places.held(), (4, 3));
        assert_eq!(places.take(from("192.0.2.1")).err(), Some(Full::Address));
        let last = places.take(from("2001:db8::1")).unwrap();
        assert_eq!(places.held(), (5, 4));
        assert_eq!(
            places.take(from("192.0.2.9")).err(),
            Some(Full::Connections)
        );
        drop(other);
        assert_eq!(places.held(), (4, 3));
        let six = places.take(from("2001:db8::ffff:1")).unwrap();
        drop((first, second, third, last, six));
        assert_eq!(places.held(), (0, 0));
        assert!(places.lock().networks.is_empty());
    }

    #[test]
    fn openings_are_fewer_than_connections_and_a_net_of_ipv6_is_one_address() {
        let limits = ServeLimits::new().with_openings(2, 1);
        let places = places(limits);
        let one = places.take(from("2001:db8:0:1::1")).unwrap();
        let same = places.take(from("2001:db8:0:1:ffff::2"));
        assert_eq!(same.err(), Some(Full::Address));
        let two = places.take(from("2001:db8:0:2::1")).unwrap();
        let three = places.take(from("2001:db8:0:3::1"));
        assert_eq!(three.err(), Some(Full::Openings));
        drop((one, two));
    }
}
