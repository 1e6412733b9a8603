//! URLs whose answers lately could not be stored.
//!
//! Requests for one URL wait for the first of them to bring the answer. Where the answer will not do for the others,
//! waiting would only line them up, so such URLs are remembered for a while and their requests go to the origin side
//! by side. The first storable answer takes a URL off the list.

use crate::key::Key;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Most URLs remembered; past that the one remembered longest is forgotten, which costs it one wait.
pub const KEYS_MAX: usize = 64 * 1024;
const SHARDS: usize = 8;

/// Why a URL is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The origin, or a rule, forbids storing.
    NotStorable,
    /// Longer than may be stored.
    TooLarge,
    /// The origin failed. Not for long: when it is well again one request shall fetch for all.
    OriginFailed,
}

impl Why {
    /// For how long.
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self {
            Self::NotStorable => Duration::from_secs(120),
            Self::TooLarge => Duration::from_secs(600),
            Self::OriginFailed => Duration::from_secs(1),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Until {
    at: Instant,
    why: Why,
    /// Which of the queue's nodes is the live one.
    ticket: u64,
}

#[derive(Debug, Default)]
struct Shard {
    until: HashMap<Key, Until>,
    order: VecDeque<(Key, u64)>,
    tickets: u64,
}

/// See the module's text.
#[derive(Debug)]
pub struct HitForMiss {
    shards: [Mutex<Shard>; SHARDS],
    shard_max: usize,
}

impl Default for HitForMiss {
    fn default() -> Self {
        Self::bounded(KEYS_MAX)
    }
}

impl HitForMiss {
    /// Remembering at most about `keys` URLs.
    #[must_use]
    pub fn bounded(keys: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            shard_max: (keys / SHARDS).max(1),
        }
    }

    /// Is it remembered now?
    #[must_use]
    pub fn why(&self, key: Key, now: Instant) -> Option<Why> {
        self.shard(key)
            .lock()
            .until
            .get(&key)
            .filter(|until| until.at > now)
            .map(|until| until.why)
    }

    /// Remembers. `true` if it was not remembered before.
    pub fn remember(&self, key: Key, why: Why, now: Instant) -> bool {
        let mut shard = self.shard(key).lock();
        shard.tickets += 1;
        let until = Until {
            at: now + why.duration(),
            why,
            ticket: shard.tickets,
        };
        let known = shard
            .until
            .insert(key, until)
            .is_some_and(|old| old.at > now);
        shard.order.push_back((key, until.ticket));
        while shard.until.len() > self.shard_max || shard.order.len() > 2 * self.shard_max {
            let Some((oldest, ticket)) = shard.order.pop_front() else {
                break;
            };
            if shard
                .until
                .get(&oldest)
                .is_some_and(|until| until.ticket == ticket)
            {
                shard.until.remove(&oldest);
            }
        }
        !known
    }

    /// Forgets. `true` if it was remembered.
    pub fn forget(&self, key: Key) -> bool {
        self.shard(key).lock().until.remove(&key).is_some()
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[usize::from(key.to_bytes()[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_remembered_for_its_time_and_forgotten_on_request() {
        let (table, start) = (HitForMiss::default(), Instant::now());
        assert!(table.remember(Key(1), Why::NotStorable, start));
        assert!(!table.remember(Key(1), Why::NotStorable, start));
        assert_eq!(
            table.why(Key(1), start + Duration::from_secs(119)),
            Some(Why::NotStorable)
        );
        assert_eq!(table.why(Key(1), start + Duration::from_secs(120)), None);
        assert!(table.forget(Key(1)) && !table.forget(Key(1)));
        assert_eq!(table.why(Key(1), start), None);
    }

    #[test]
    fn a_failing_origin_is_remembered_for_a_moment_only() {
        let (table, start) = (HitForMiss::default(), Instant::now());
        table.remember(Key(1), Why::OriginFailed, start);
        assert!(
            table.why(Key(1), start).is_some()
                && table.why(Key(1), start + Duration::from_secs(1)).is_none()
        );
    }

    #[test]
    fn the_table_is_bounded_at_the_limit() {
        let (table, start) = (HitForMiss::bounded(SHARDS * 4), Instant::now());
        // All in the first shard.
        for key in 0..5 {
            table.remember(Key(key), Why::NotStorable, start);
        }
        assert!(table.why(Key(0), start).is_none(), "one past the bound");
        assert!((1..5).all(|key| table.why(Key(key), start).is_some()));
        for _ in 0..1_000 {
            table.remember(Key(4), Why::NotStorable, start);
        }
        assert!(table.shards[0].lock().order.len() <= 8);
        assert!(table.why(Key(4), start).is_some());
    }
}
