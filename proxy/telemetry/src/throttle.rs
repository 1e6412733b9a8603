//! Holds back log lines of an event that comes too often, so that a hostile client cannot fill a disk.

use crate::metrics::LOG_SUPPRESSED;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Lets a number of lines through in each second.
#[derive(Debug)]
pub(crate) struct Throttle {
    per_second: u32,
    second: AtomicU64,
    count: AtomicU32,
    held_back: AtomicU64,
}

impl Throttle {
    pub(crate) const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            second: AtomicU64::new(0),
            count: AtomicU32::new(0),
            held_back: AtomicU64::new(0),
        }
    }

    /// Whether this line may be written; one that may not is counted.
    pub(crate) fn admit(&self) -> bool {
        self.admit_and_tell().is_some()
    }

    /// As [`Throttle::admit`]; with a line that may be written goes the number of those that were held back before it.
    pub(crate) fn admit_and_tell(&self) -> Option<u64> {
        self.admit_at(EPOCH.elapsed().as_secs())
    }

    /// How many were held back since the last line that was written.
    pub(crate) fn take_held_back(&self) -> u64 {
        self.held_back.swap(0, Ordering::Relaxed)
    }

    fn admit_at(&self, second: u64) -> Option<u64> {
        // Two threads at the turn of a second may both reset: that lets a few lines more through, never fewer.
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) < self.per_second {
            return Some(self.take_held_back());
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        LOG_SUPPRESSED.inc();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_event_is_held_back_until_the_next_second() {
        let throttle = Throttle::new(2);
        let admitted = |second| {
            (0..10)
                .filter_map(|_| throttle.admit_at(second))
                .collect::<Vec<_>>()
        };
        assert_eq!(admitted(5), [0, 0]);
        assert_eq!(
            admitted(6),
            [8, 0],
            "the next line tells of those before it"
        );
    }
}
