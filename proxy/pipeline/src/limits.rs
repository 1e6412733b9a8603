//! Stage 7: how much a client may ask for. The room `limits` decides; here it learns of requests, and its words reach
//! the client.
//!
//! - [`Limits`] lives as long as the process: the table of all counts and the clock they are counted by. It is made when
//!   the first settings that have limits are compiled, so that a node without any pays nothing.
//! - [`plan`] is what one configuration wants of a route.
//! - [`stage`] asks before anything else is done for a request, and tells at its end what it took.

pub(crate) mod plan;
pub(crate) mod stage;

use aegis_limits::{LimitError, Nanos, Stats, Table};
use aegis_telemetry::metrics;
use parking_lot::Mutex;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The counts of all limits, for as long as the process lives: a reload forgets none.
pub struct Limits {
    entries: usize,
    clock: Clock,
    table: OnceLock<Result<Arc<Table>, LimitError>>,
    /// What the metrics were told last.
    told: Mutex<Option<Stats>>,
}

/// Time as limits count it: the wall clock is read once, when the process starts; from then on the monotonic one tells.
#[derive(Debug, Clone, Copy)]
struct Clock {
    wall: Nanos,
    read: Instant,
}

/// How the table of counts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsUse {
    /// Counts that fit; 0 = no settings had limits yet.
    pub entries: u64,
    /// Counts that can still matter.
    pub used: u64,
    /// Counts dropped for newer keys while they could still matter.
    pub evicted: u64,
}

impl Limits {
    /// Room for so many counts (`node.limits.entries`).
    #[must_use]
    pub fn new(entries: usize) -> Arc<Self> {
        let clock = Clock::reading(SystemTime::now(), Instant::now());
        Arc::new(Self {
            entries,
            clock,
            table: OnceLock::new(),
            told: Mutex::default(),
        })
    }

    /// The moment of a monotonic clock's reading.
    pub(crate) fn at(&self, at: Instant) -> Nanos {
        self.clock.at(at)
    }

    fn table(&self) -> Result<Arc<Table>, LimitError> {
        let make = || Table::new(self.entries, secret(), self.clock.wall).map(Arc::new);
        self.table.get_or_init(make).clone()
    }

    fn made(&self) -> Option<&Table> {
        self.table.get()?.as_deref().ok()
    }

    /// How the table is; looks at some thousand of its places.
    #[must_use]
    pub fn look(&self) -> LimitsUse {
        let Some(table) = self.made() else {
            return LimitsUse {
                entries: 0,
                used: 0,
                evicted: 0,
            };
        };
        let stats = table.stats();
        LimitsUse {
            entries: stats.entries,
            used: table.used(self.at(Instant::now())),
            evicted: stats.evicted,
        }
    }

    /// Moves the metrics on; to be called every second or so.
    pub fn publish(&self) {
        let Some(table) = self.made() else { return };
        let used = table.used(self.at(Instant::now()));
        metrics::LIMITS_ENTRIES.set(i64::try_from(used).unwrap_or(i64::MAX));
        let now = table.stats();
        let mut told = self.told.lock();
        let before = told.unwrap_or(Stats {
            evicted: 0,
            evicted_refused: 0,
            uncounted: 0,
            ..now
        });
        *told = Some(now);
        let refused = now.evicted_refused - before.evicted_refused;
        let all = now.evicted - before.evicted;
        for (state, count) in [
            ("counting", all.saturating_sub(refused)),
            ("refused", refused),
        ] {
            metrics::LIMITS_EVICTED.with(&[state]).inc_by(count);
        }
        metrics::LIMITS_UNCOUNTED.inc_by(now.uncounted - before.uncounted);
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let made = self.made().is_some();
        let mut shown = f.debug_struct("Limits");
        shown.field("entries", &self.entries).field("made", &made);
        shown.finish_non_exhaustive()
    }
}

impl Clock {
    fn reading(wall: SystemTime, read: Instant) -> Self {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            wall: u64::try_from(wall.as_nanos()).unwrap_or_default(),
            read,
        }
    }

    fn at(&self, at: Instant) -> Nanos {
        let passed = at.saturating_duration_since(self.read);
        let seconds = passed.as_secs().saturating_mul(1_000_000_000);
        let passed = seconds.saturating_add(u64::from(passed.subsec_nanos()));
        self.wall.saturating_add(passed)
    }
}

/// New at every start, so that nobody can foresee which counts share a place.
fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_step_of_the_wall_clock_moves_no_count() {
        let (wall, read) = (
            UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            Instant::now(),
        );
        let clock = Clock::reading(wall, read);
        let second = 1_000_000_000;
        assert_eq!(clock.at(read), 1_800_000_000 * second);
        // Only the monotonic clock is asked from here on: whatever is done to the other, a second is a second.
        let later = |seconds| clock.at(read + Duration::from_secs(seconds));
        assert_eq!(later(86_400) - later(86_399), second);
        assert_eq!(later(1), 1_800_000_001 * second);
        // A wall clock before the epoch, and a reading from before the start, are moments like others.
        let early = Clock::reading(UNIX_EPOCH - Duration::from_secs(5), read);
        assert_eq!(early.at(read), 0);
        assert_eq!(early.at(read - Duration::from_nanos(1)), 0);
    }

    #[test]
    fn no_table_is_made_before_there_are_limits() {
        let limits = Limits::new(1024);
        limits.publish();
        assert_eq!(limits.look().entries, 0);
        assert!(limits.table().is_ok());
        assert_eq!(limits.look().entries, 1024);
        limits.publish();
    }
}
