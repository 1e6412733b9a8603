//! Bounds that all requests share: bytes of bodies held for a verdict, in memory and on disk, and worker threads given to response bodies.

use super::SHORT_MAX;
use aegis_identity::source;
use aegis_telemetry::events::LimitHit;
use aegis_telemetry::metrics;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is counted: the names of its bounds, and its gauge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    all: &'static str,
    site: &'static str,
    source: &'static str,
    count: fn(i64),
}

/// Bodies in memory.
pub(crate) const HELD: Kind = Kind {
    all: "node.bodies_held_max",
    site: "node.bodies_held_max/site",
    source: "node.bodies_held_max/source",
    count: |bytes| metrics::BODIES_HELD.add(bytes),
};

/// Bodies on disk.
pub(crate) const SPOOLED: Kind = Kind {
    all: "node.bodies_spooled_max",
    site: "node.bodies_spooled_max/site",
    source: "node.bodies_spooled_max/source",
    count: |bytes| metrics::BODIES_SPOOLED.add(bytes),
};

/// A bound of which a site may use a half and a source an eighth, each at least one request's worth. How long a body may
/// take what it has taken is the door's business, which sees to it that every body comes to an end.
///
/// Sites and sources are remembered while they hold something, so there are no more of them than connections.
#[derive(Debug)]
pub(crate) struct Budget {
    kind: Kind,
    max: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: u64,
    sites: HashMap<Arc<str>, u64>,
    sources: HashMap<IpAddr, u64>,
}

/// Whose share bytes are taken from.
#[derive(Debug, Clone)]
pub(crate) struct Payer {
    site: Arc<str>,
    source: IpAddr,
    /// One request of this size finds room, if anything is left at all.
    least: u64,
}

impl Payer {
    /// `most` is what one request of the route may have to hold.
    pub(crate) fn new(site: Arc<str>, client: IpAddr, most: u64) -> Self {
        Self {
            site,
            source: source(client),
            // The piece that goes past the bound is taken before it is seen that it does.
            least: most.saturating_add(SHORT_MAX),
        }
    }
}

/// Bytes taken out of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    payer: Payer,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(kind: Kind, max: u64) -> Arc<Self> {
        Arc::new(Self {
            kind,
            max,
            used: Mutex::default(),
        })
    }

    /// A permit of no bytes.
    pub(crate) fn permit(self: &Arc<Self>, payer: Payer) -> Permit {
        Permit {
            budget: Arc::clone(self),
            payer,
            bytes: 0,
        }
    }

    /// Takes `bytes`, or names the bound that forbids it.
    fn take(&self, payer: &Payer, bytes: u64) -> Result<(), &'static str> {
        let mut used = self.used.lock();
        let fits = |used: u64, max: u64| used.checked_add(bytes).filter(|&sum| sum <= max);
        let share = |part: u64| (self.max / part).max(payer.least);
        let all = fits(used.all, self.max).ok_or(self.kind.all)?;
        let of_site = used.sites.get(&payer.site).copied().unwrap_or(0);
        let of_site = fits(of_site, share(2)).ok_or(self.kind.site)?;
        let of_source = used.sources.get(&payer.source).copied().unwrap_or(0);
        let of_source = fits(of_source, share(8)).ok_or(self.kind.source)?;
        used.all = all;
        used.sites.insert(Arc::clone(&payer.site), of_site);
        used.sources.insert(payer.source, of_source);
        Ok(())
    }

    fn give_back(&self, payer: &Payer, bytes: u64) {
        let mut used = self.used.lock();
        used.all = used.all.saturating_sub(bytes);
        lessen(&mut used.sites, &payer.site, bytes);
        lessen(&mut used.sources, &payer.source, bytes);
    }

    #[cfg(test)]
    pub(crate) fn is_untouched(&self) -> bool {
        let used = self.used.lock();
        used.all == 0 && used.sites.is_empty() && used.sources.is_empty()
    }
}

fn lessen<K: Hash + Eq>(shares: &mut HashMap<K, u64>, key: &K, bytes: u64) {
    if let Some(share) = shares.get_mut(key) {
        *share = share.saturating_sub(bytes);
        if *share == 0 {
            shares.remove(key);
        }
    }
}

impl Permit {
    /// Takes `bytes` more; false if there are not so many left, in all or for this site or source.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if bytes == 0 {
            return true;
        }
        if let Err(what) = self.budget.take(&self.payer, bytes) {
            LimitHit { what }.emit();
            return false;
        }
        self.bytes += bytes;
        (self.budget.kind.count)(bytes.cast_signed());
        true
    }

    /// Takes what is missing to `bytes` in all.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let have = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        self.grow(bytes.saturating_sub(have))
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        self.shrink_to(0);
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let more = self.bytes.saturating_sub(bytes as u64);
        if more > 0 {
            self.bytes -= more;
            self.budget.give_back(&self.payer, more);
            (self.budget.kind.count)(-more.cast_signed());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

/// Lets a few threads block at a time, so that the others go on serving.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    opened: Condvar,
}

/// One place in a [`Gate`].
#[derive(Debug)]
pub(crate) struct Passage<'a>(&'a Gate);

impl Gate {
    /// A gate for `workers` threads: all but one may block, and one always.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            free: Mutex::new(workers.saturating_sub(1).max(1)),
            opened: Condvar::new(),
        }
    }

    /// Waits on this thread, at most `longest`.
    pub(crate) fn enter(&self, longest: Duration) -> Option<Passage<'_>> {
        let until = Instant::now() + longest;
        let mut free = self.free.lock();
        while *free == 0 {
            if self.opened.wait_until(&mut free, until).timed_out() && *free == 0 {
                return None;
            }
        }
        *free -= 1;
        Some(Passage(self))
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.opened.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Gate, HELD, Payer, Permit};
    use std::sync::Arc;
    use std::time::Duration;

    fn payer(site: &str, client: &str, most: u64) -> Payer {
        let client = client.parse().expect("an address");
        Payer {
            least: most,
            ..Payer::new(site.into(), client, 0)
        }
    }

    fn b_again(budget: &Arc<Budget>) -> Permit {
        budget.permit(payer("b", "192.0.2.9", 100))
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(HELD, 100);
        let alone = |n| budget.permit(payer(&format!("{n}"), &format!("192.0.2.{n}"), 100));
        let (mut a, mut b) = (alone(1), alone(2));
        assert!(a.grow(60) && b.grow(40));
        assert!(!a.grow(1), "one past the bound");
        drop(b);
        assert!(a.grow_to(100) && a.grow_to(50));
        assert!(!a.grow_to(101) && !a.grow(usize::MAX));
        a.shrink_to(30);
        a.shrink_to(40);
        assert!(b_again(&budget).grow(70) && !b_again(&budget).grow(71));
        a.release();
        assert!(budget.is_untouched());
    }

    #[test]
    fn a_site_has_half_of_it_and_a_source_an_eighth() {
        let budget = Budget::new(HELD, 800);
        let permit = |site, client| budget.permit(payer(site, client, 0));
        let sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let mut held: Vec<_> = sources.map(|source| permit("a", source)).into();
        for one in &mut held {
            assert!(!one.grow(101) && one.grow(100) && !one.grow(1));
        }
        assert!(
            !permit("b", sources[0]).grow(1),
            "the same source elsewhere"
        );
        assert!(!permit("a", "192.0.2.5").grow(1), "the site's half is used");
        assert!(permit("b", "192.0.2.5").grow(100), "others have room");
        held.pop();
        assert!(permit("a", "192.0.2.5").grow(100));
        drop(held);
        assert!(budget.is_untouched());
    }

    #[test]
    fn one_request_as_long_as_its_route_allows_always_fits() {
        let budget = Budget::new(HELD, 800);
        let mut one = budget.permit(payer("a", "192.0.2.1", 700));
        assert!(one.grow(700) && !one.grow(1));
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let budget = Budget::new(HELD, 800);
        let permit = |client| budget.permit(payer("a", client, 0));
        let mut one = permit("2001:db8::1");
        assert!(one.grow(100));
        assert!(!permit("2001:db8::ffff:2").grow(1));
        assert!(permit("2001:db8:0:1::1").grow(1));
        let mut mapped = permit("::ffff:192.0.2.1");
        assert!(mapped.grow(100) && !permit("192.0.2.1").grow(1));
    }

    #[test]
    fn one_thread_always_stays_free_of_blocking() {
        let gate = Gate::new(3);
        let first = gate.enter(Duration::ZERO);
        let second = gate.enter(Duration::ZERO);
        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(Duration::ZERO).is_none());
        drop(first);
        assert!(gate.enter(Duration::ZERO).is_some());
        assert!(
            Gate::new(1).enter(Duration::ZERO).is_some(),
            "with one thread there is no choice"
        );
    }
}
