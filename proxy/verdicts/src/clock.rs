//! The wall clock that cannot be stepped.

use crate::Millis;
use std::time::Instant;

/// The wall clock as it was at one moment, carried on by the monotonic one: when somebody sets the machine's clock, no
/// ban ends early and none becomes eternal. Only what is written to disk is told in the wall clock's time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall: Millis,
}

impl Clock {
    /// The wall clock showed `wall` at `start`.
    #[must_use]
    pub const fn new(start: Instant, wall: Millis) -> Self {
        Self { start, wall }
    }

    /// What it shows at a moment.
    #[must_use]
    pub fn at(&self, moment: Instant) -> Millis {
        let since = moment.saturating_duration_since(self.start).as_millis();
        self.wall
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// How far ahead the wall clock is, which shows `wall` at `moment`: 0 until somebody sets it.
    #[must_use]
    pub fn ahead(&self, moment: Instant, wall: Millis) -> i64 {
        let signed = |millis: Millis| i64::try_from(millis).unwrap_or(i64::MAX);
        signed(wall).saturating_sub(signed(self.at(moment)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_goes_on_when_the_wall_clock_is_set_and_knows_by_how_much() {
        let start = Instant::now();
        let clock = Clock::new(start, 1_000_000);
        let later = start + Duration::from_secs(10);
        assert_eq!(clock.at(later), 1_010_000);
        assert_eq!(clock.ahead(later, 1_010_000), 0);
        assert_eq!(clock.ahead(later, 4_610_000), 3_600_000);
        assert_eq!(clock.ahead(later, 10_000), -1_000_000);
        assert_eq!(clock.at(start - Duration::from_secs(1)), 1_000_000);
    }
}
