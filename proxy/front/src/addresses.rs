//! How many connections an address has.
//!
//! A network is remembered while it has a connection, so there are never more of them than connections.

use aegis_identity::source;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;

/// Connections by IPv4 address and IPv6 /64.
#[derive(Debug)]
pub(crate) struct Addresses {
    max: usize,
    keys: RandomState,
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// One connection of an address; given back when dropped.
#[derive(Debug)]
pub(crate) struct OfAddress {
    addresses: Arc<Addresses>,
    source: IpAddr,
}

impl Addresses {
    /// `max` connections for each.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            keys: RandomState::new(),
            shards: Default::default(),
        })
    }

    /// Counts one more, unless there are as many as there may be. Hops that bring many clients are not counted: whoever
    /// trusts them does not ask here for them.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Option<OfAddress> {
        let source = source(client);
        let mut shard = self.shard(source);
        let count = shard.entry(source).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(shard);
        Some(OfAddress {
            addresses: Arc::clone(self),
            source,
        })
    }

    fn shard(&self, source: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let at = self.keys.hash_one(source) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "at is a remainder of the length")]
        let shard = &self.shards[at];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut shard = self.addresses.shard(self.source);
        if let Some(count) = shard.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_connections_and_not_one_more() {
        let addresses = Addresses::new(2);
        let first = addresses.take(ip("192.0.2.1"));
        let second = addresses.take(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(addresses.take(ip("192.0.2.1")).is_none());
        assert!(addresses.take(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.take(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let addresses = Addresses::new(1);
        let one = addresses.take(ip("2001:db8::1"));
        assert!(one.is_some());
        assert!(addresses.take(ip("2001:db8::ffff:2")).is_none());
        assert!(addresses.take(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let addresses = Addresses::new(1);
        for n in 0..1000_u32 {
            drop(addresses.take(IpAddr::from(n.to_be_bytes())));
        }
        let left = addresses.shards.iter().map(|s| s.lock().unwrap().len());
        assert_eq!(left.sum::<usize>(), 0);
    }
}
