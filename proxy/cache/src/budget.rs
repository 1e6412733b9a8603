//! One bound for all bytes the store holds.
//!
//! Bytes are counted from before they are allocated until the last holder lets go: an answer taken out of the store
//! while a slow client still reads it goes on counting, so no number of slow readers can make the process larger than
//! its bound. The one exception, [`Charge::force`], says how far.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound and what is used of it.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// At most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// Bytes counted now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes `bytes` if they fit.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .ok()
            .map(|_| Charge {
                budget: Arc::clone(self),
                bytes,
            })
    }
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what another took.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes `bytes` even past the bound: for the window of an answer that has outgrown what may be stored and has to
    /// be brought to its readers all the same ([`crate::body`]).
    pub(crate) fn force(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Gives part of it back.
    pub(crate) fn release(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_up_to_the_bound_and_given_back() {
        let budget = Budget::new(10);
        let mut charge = budget.take(4).unwrap();
        assert!(budget.take(7).is_none());
        charge.merge(budget.take(6).unwrap());
        assert_eq!((budget.used(), charge.bytes()), (10, 10));
        charge.release(3);
        assert_eq!(budget.used(), 7);
        charge.force(5);
        assert_eq!(budget.used(), 12);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }
}
