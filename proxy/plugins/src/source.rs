//! Whose jobs run: one source of requests must not hold every thread.
//!
//! The wait budget is a tenth of a second and a job may run for seconds. Without this, one client with a few bodies that
//! are slow to judge would have everybody else's requests refused.

use std::collections::HashMap;
use std::net::IpAddr;

/// Who sends requests: an IPv4 address, or an IPv6 /64, which is what one customer of a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        const NETWORK: u128 = !(u64::MAX as u128);
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & NETWORK).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The jobs that run, by source; never more than there are threads.
pub(crate) struct Running {
    counts: HashMap<Source, usize>,
    max: usize,
}

impl Running {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            counts: HashMap::with_capacity(threads),
            max: threads.saturating_sub(1).max(1),
        }
    }

    /// Whether nothing of this source runs; what has no source is always free.
    pub(crate) fn is_idle(&self, source: Option<Source>) -> bool {
        source.is_none_or(|source| !self.counts.contains_key(&source))
    }

    /// Whether one more of this source may run: the last thread is for others.
    pub(crate) fn has_room(&self, source: Option<Source>) -> bool {
        source.is_none_or(|source| {
            self.counts
                .get(&source)
                .is_none_or(|count| *count < self.max)
        })
    }

    pub(crate) fn begin(&mut self, source: Option<Source>) {
        if let Some(source) = source {
            *self.counts.entry(source).or_default() += 1;
        }
    }

    pub(crate) fn end(&mut self, source: Option<Source>) {
        let Some(source) = source else { return };
        if let Some(count) = self.counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().expect("an address"))
    }

    #[test]
    fn a_source_is_an_address_or_a_64_of_ipv6() {
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
    }

    #[test]
    fn the_last_thread_is_for_others() {
        let (one, other) = (Some(source("192.0.2.1")), Some(source("192.0.2.2")));
        let mut running = Running::new(3);
        assert!(running.is_idle(one) && running.has_room(one));
        running.begin(one);
        assert!(!running.is_idle(one) && running.has_room(one));
        running.begin(one);
        assert!(!running.has_room(one) && running.has_room(other) && running.has_room(None));
        running.end(one);
        running.end(one);
        assert!(running.is_idle(one) && running.counts.is_empty());
        // With one thread there is nothing to keep free.
        let alone = Running::new(1);
        assert!(alone.has_room(one));
    }
}
