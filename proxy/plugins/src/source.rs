//! Whose jobs run: one source of requests must not hold every thread.
//!
//! The wait budget is a tenth of a second and a job may run for seconds. Without this, some clients with bodies that are
//! slow to judge would have everybody else's requests refused.

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
///
/// Long ones never hold the last thread, whoever they are for: that is for short jobs, of which a single source never
/// fills more than all threads but one.
pub(crate) struct Running {
    counts: HashMap<Source, Count>,
    long: usize,
    /// Of all long jobs together, and of the short ones of one source.
    max: usize,
}

#[derive(Default)]
struct Count {
    short: usize,
    long: usize,
}

impl Running {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            counts: HashMap::with_capacity(threads),
            long: 0,
            max: threads.saturating_sub(1).max(1),
        }
    }

    /// Threads that long jobs may hold.
    pub(crate) fn long_max(&self) -> usize {
        self.max
    }

    /// Long jobs that run.
    pub(crate) fn long(&self) -> usize {
        self.long
    }

    /// Whether one more may run that nothing of its source runs beside; what has no source is always free.
    pub(crate) fn is_idle(&self, source: Option<Source>, long: bool) -> bool {
        self.has_lane(long) && source.is_none_or(|source| !self.counts.contains_key(&source))
    }

    /// Whether one more of this source may run: the last thread is for others.
    pub(crate) fn has_room(&self, source: Option<Source>, long: bool) -> bool {
        let count = source.and_then(|source| self.counts.get(&source));
        let has = |count: &Count| if long { count.long } else { count.short } < self.max;
        self.has_lane(long) && count.is_none_or(has)
    }

    fn has_lane(&self, long: bool) -> bool {
        !long || self.long < self.max
    }

    pub(crate) fn begin(&mut self, source: Option<Source>, long: bool) {
        self.long += usize::from(long);
        if let Some(source) = source {
            let count = self.counts.entry(source).or_default();
            *(if long {
                &mut count.long
            } else {
                &mut count.short
            }) += 1;
        }
    }

    pub(crate) fn end(&mut self, source: Option<Source>, long: bool) {
        self.long = self.long.saturating_sub(usize::from(long));
        let Some(source) = source else { return };
        if let Some(count) = self.counts.get_mut(&source) {
            let of = if long {
                &mut count.long
            } else {
                &mut count.short
            };
            *of = of.saturating_sub(1);
            if count.short + count.long == 0 {
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
        assert!(running.is_idle(one, false) && running.has_room(one, false));
        running.begin(one, false);
        assert!(!running.is_idle(one, false) && running.has_room(one, false));
        running.begin(one, false);
        assert!(!running.has_room(one, false));
        assert!(running.has_room(other, false) && running.has_room(None, false));
        running.end(one, false);
        running.end(one, false);
        assert!(running.is_idle(one, false) && running.counts.is_empty());
        // With one thread there is nothing to keep free.
        let alone = Running::new(1);
        assert!(alone.has_room(one, false) && alone.has_room(one, true));
    }

    #[test]
    fn long_jobs_of_however_many_sources_leave_a_thread_to_short_ones() {
        let (one, other) = (Some(source("192.0.2.1")), Some(source("192.0.2.2")));
        let mut running = Running::new(3);
        running.begin(one, true);
        running.begin(other, true);
        assert!(!running.is_idle(None, true) && !running.has_room(Some(source("::1")), true));
        // Who sends a long text may look at a page meanwhile.
        assert!(running.has_room(one, false) && running.is_idle(None, false));
        running.end(one, true);
        assert!(running.has_room(one, true) && running.is_idle(one, true));
    }
}
