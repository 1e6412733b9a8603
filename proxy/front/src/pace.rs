//! How long a client may keep us waiting.
//!
//! Each direction of a client has a patience that waiting uses up and bytes give back: at `rate` bytes a second it never
//! ends, below it does, however the bytes are spread. A client that has nothing to do is never waited for, so idle streams
//! of events are none of its business.

use std::time::Duration;

/// Bounds of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Patience at the start, and the most there can be.
    pub(crate) longest: Duration,
    /// Bytes that give one second of it back; 0: any byte gives all of it.
    pub(crate) rate: u64,
}

impl Pace {
    /// With a little more patience.
    pub(crate) const fn and(self, more: Duration) -> Self {
        Self {
            longest: self.longest.saturating_add(more),
            ..self
        }
    }
}

/// What is left of the patience with one direction of one client.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    pace: Pace,
    left: Duration,
}

impl Patience {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            left: pace.longest,
        }
    }

    /// The longest wait from now.
    pub(crate) const fn left(&self) -> Duration {
        self.left
    }

    /// It has waited for so long; false when that was too long.
    pub(crate) const fn waited(&mut self, time: Duration) -> bool {
        self.left = self.left.saturating_sub(time);
        !self.left.is_zero()
    }

    /// So many bytes went.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if bytes == 0 || self.left == self.pace.longest {
            return;
        }
        match self.pace.rate {
            0 => self.left = self.pace.longest,
            rate => self.rested(Duration::from_secs_f64(bytes as f64 / rate as f64)),
        }
    }

    /// For so long nothing was waited for.
    pub(crate) fn rested(&mut self, time: Duration) {
        self.left = self.left.saturating_add(time).min(self.pace.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, Patience};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience(rate: u64) -> Patience {
        Patience::new(Pace {
            longest: 10 * SECOND,
            rate,
        })
    }

    /// Seconds until it ends with so many bytes in each.
    fn lasts(rate: u64, bytes: usize) -> Option<u32> {
        let mut patience = patience(rate);
        (1..10_000).find(|_| {
            let goes_on = patience.waited(SECOND);
            patience.moved(bytes);
            !goes_on
        })
    }

    #[test]
    fn who_keeps_the_rate_is_waited_for_without_end_and_who_does_not_is_not() {
        assert_eq!(lasts(1000, 1000), None);
        assert_eq!(lasts(1000, 0), Some(10));
        // Each second costs a tenth of one.
        assert_eq!(lasts(1000, 900), Some(91));
    }

    #[test]
    fn without_a_rate_any_byte_is_enough() {
        assert_eq!(lasts(0, 1), None);
        assert_eq!(lasts(0, 0), Some(10));
    }

    #[test]
    fn what_came_fast_before_buys_no_more_than_the_longest_wait() {
        let mut patience = patience(1000);
        patience.moved(usize::MAX);
        assert!(patience.waited(9 * SECOND));
        patience.moved(usize::MAX);
        assert_eq!(patience.left(), 10 * SECOND);
        assert!(!patience.waited(10 * SECOND));
    }
}
