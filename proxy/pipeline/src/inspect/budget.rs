//! Bounds that all requests share: bytes of bodies held for a verdict, and worker threads given to response bodies.

use aegis_telemetry::events::LimitHit;
use aegis_telemetry::metrics;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `node.bodies_held_max`.
#[derive(Debug)]
pub(crate) struct Budget {
    max: AtomicU64,
    used: AtomicU64,
}

/// Bytes taken out of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicU64::new(max),
            used: AtomicU64::new(0),
        })
    }

    /// Changes the bound; what is held stays.
    pub(crate) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A permit of no bytes.
    pub(crate) fn permit(self: &Arc<Self>) -> Permit {
        Permit {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Permit {
    /// Takes `bytes` more; false if the budget has not so many left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let max = self.budget.max.load(Ordering::Relaxed);
        let take = |used: u64| used.checked_add(bytes).filter(|&used| used <= max);
        if self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            LimitHit {
                what: "node.bodies_held_max",
            }
            .emit();
            return false;
        }
        self.bytes += bytes;
        metrics::BODIES_HELD.add(bytes.cast_signed());
        true
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        metrics::BODIES_HELD.sub(bytes.cast_signed());
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
    use super::{Budget, Gate};
    use std::time::Duration;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.permit(), budget.permit());
        assert!(a.grow(60) && b.grow(40));
        assert!(!a.grow(1), "one past the bound");
        drop(b);
        assert!(a.grow(40));
        a.release();
        assert_eq!(budget.used(), 0);
        budget.set_max(10);
        assert!(!a.grow(11));
        assert!(!a.grow(usize::MAX));
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
