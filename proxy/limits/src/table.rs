//! The counts of all keys: a set-associative table of fixed size.
//!
//! A key belongs to one bucket of eight places, chosen by its keyed hash; a bucket has a lock of its own, held for some
//! tens of nanoseconds. There are no other locks, no resizing and no task that sweeps: memory and the worst case are
//! known when the table is made.
//!
//! **Who has to go** when a bucket is full, first to last: a count that can matter no more; then the one that used the
//! smallest part of its limit (by powers of two), the oldest first among equals; then one that was *refused*. A request
//! in flight never goes, since its end must find its count. So a flood of new keys replaces other keys that came once:
//! to push out a key at half its limit of 100, each of the other seven places has to use half its limit first, and
//! nobody can choose the keys that share a bucket with a victim, or with themselves, without the secret. To make
//! *refused* keys forgotten one has to be refused with seven more keys in that bucket, which takes as many clients as
//! the table has places. A forgotten count means a client starts anew: it can gain, nobody else loses.

use crate::policy::Policy;
use crate::window::Count;
use crate::{Answer, Key, LimitError, Nanos, Outcome};
use bucket::{Bucket, Mark, Place};
use std::sync::atomic::{AtomicU64, Ordering};

mod bucket;

/// The counts of all keys of all policies.
pub struct Table {
    buckets: Box<[Bucket]>,
    secret: [u8; 32],
    began: Nanos,
    evicted: AtomicU64,
    evicted_refused: AtomicU64,
    uncounted: AtomicU64,
}

/// What a table is and what happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// How many counts fit.
    pub entries: u64,
    /// Memory, all of it taken when the table was made.
    pub bytes: u64,
    /// Counts dropped for newer keys while they could still matter.
    pub evicted: u64,
    /// Those of them that were being refused.
    pub evicted_refused: u64,
    /// Requests that could not be counted, because eight keys in flight had the bucket.
    pub uncounted: u64,
}

impl Table {
    /// The fewest entries.
    pub const ENTRIES_MIN: usize = 1 << 10;
    /// The most entries (1.2 GB).
    pub const ENTRIES_MAX: usize = 1 << 24;

    /// Buckets that [`Table::used`] looks at.
    pub const SAMPLE: usize = 1 << 14;

    /// A table of `entries` counts (rounded up to eights), 72 bytes each.
    ///
    /// `secret` must be unknown to clients, and may be new at every start. `now` is when the process started.
    ///
    /// # Errors
    /// [`LimitError::Entries`].
    pub fn new(entries: usize, secret: [u8; 32], now: Nanos) -> Result<Self, LimitError> {
        let (min, max) = (Self::ENTRIES_MIN, Self::ENTRIES_MAX);
        if !(min..=max).contains(&entries) {
            return Err(LimitError::Entries { entries, min, max });
        }
        let buckets = (0..entries.div_ceil(Bucket::PLACES)).map(|_| Bucket::default());
        Ok(Self {
            buckets: buckets.collect(),
            secret,
            began: now,
            evicted: AtomicU64::new(0),
            evicted_refused: AtomicU64::new(0),
            uncounted: AtomicU64::new(0),
        })
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: (self.buckets.len() * Bucket::PLACES) as u64,
            bytes: size_of_val(&*self.buckets) as u64,
            evicted: self.evicted.load(Ordering::Relaxed),
            evicted_refused: self.evicted_refused.load(Ordering::Relaxed),
            uncounted: self.uncounted.load(Ordering::Relaxed),
        }
    }

    /// How many counts can still matter, told from at most [`Self::SAMPLE`] buckets: exact up to 131,072 entries.
    pub fn used(&self, now: Nanos) -> u64 {
        let (tick, step) = (self.tick(now), self.buckets.len().div_ceil(Self::SAMPLE));
        let looked = self.buckets.iter().step_by(step);
        let (mut used, mut seen) = (0, 0);
        for bucket in looked {
            used += bucket.lock().used(tick);
            seen += 1;
        }
        used * self.buckets.len() as u64 / seen.max(1)
    }

    /// A request under a policy on requests: decides, and counts it when it may go on.
    pub fn take(&self, policy: &Policy, key: Key, now: Nanos) -> Answer {
        let taken = self.with(key, now, Missing::Insert, |count| {
            let answer = count.admit(policy, 1, now);
            (answer, rate_mark(policy, count, refused(&answer)))
        });
        taken.unwrap_or_else(|| untouched(policy))
    }

    /// A request under a policy on what is known afterwards: decides, counts nothing.
    pub fn look(&self, policy: &Policy, key: Key, now: Nanos) -> Answer {
        let looked = self.with(key, now, Missing::Leave, |count| {
            let answer = count.admit(policy, 0, now);
            (answer, rate_mark(policy, count, refused(&answer)))
        });
        looked.unwrap_or_else(|| untouched(policy))
    }

    /// Counts what is known now.
    pub fn charge(&self, policy: &Policy, key: Key, amount: u64, now: Nanos) {
        self.with(key, now, Missing::Insert, |count| {
            count.charge(policy, amount, now);
            let punished = count.blocked_until() > now;
            ((), rate_mark(policy, count, punished))
        });
    }

    /// Takes back one request another policy refused.
    pub(crate) fn refund(&self, policy: &Policy, key: Key, now: Nanos) {
        self.with(key, now, Missing::Leave, |count| {
            count.refund(policy, 1, now);
            ((), rate_mark(policy, count, false))
        });
    }

    /// A request begins under a policy on requests in flight. `None` when it could not be counted.
    pub(crate) fn enter(&self, policy: &Policy, key: Key, now: Nanos) -> Option<Answer> {
        self.with(key, now, Missing::Insert, |count| {
            let answer = count.enter(policy, now);
            (answer, flight_mark(count))
        })
    }

    /// The request ended.
    pub(crate) fn leave(&self, key: Key) {
        // A count in flight is never evicted, and its mark needs no time: `began` is as good as any.
        self.with(key, self.began, Missing::Leave, |count| {
            count.leave();
            ((), flight_mark(count))
        });
    }

    /// The key of a policy's hashes.
    pub(crate) fn secret_for(&self, identity: &[u8]) -> (u64, u64) {
        let hash = blake3::keyed_hash(&self.secret, identity);
        let mut words = hash.as_bytes().chunks_exact(8).map(|chunk| {
            chunk
                .iter()
                .rfold(0, |word, byte| word << 8 | u64::from(*byte))
        });
        (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        )
    }

    fn with<R>(
        &self,
        key: Key,
        now: Nanos,
        missing: Missing,
        act: impl FnOnce(&mut Count) -> (R, Mark),
    ) -> Option<R> {
        // Multiplying maps the hash evenly on any number of buckets; the other half of it makes the tag.
        let index = (u128::from(key.high) * self.buckets.len() as u128) >> 64;
        let mut bucket = self.buckets.get(usize::try_from(index).ok()?)?.open(key);
        let place = match (bucket.find(key), missing) {
            (Some(place), _) => place,
            (None, Missing::Leave) => return None,
            (None, Missing::Insert) => match bucket.make_room(key, self.tick(now)) {
                Place::Free(place) => place,
                Place::Evicted { place, refused } => {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                    if refused {
                        self.evicted_refused.fetch_add(1, Ordering::Relaxed);
                    }
                    place
                }
                Place::None => {
                    self.uncounted.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            },
        };
        let mut count = bucket.count(place)?;
        let (result, mark) = act(&mut count);
        bucket.put(place, &count);
        let ends = match mark.ends {
            0 => 0,
            Nanos::MAX => u32::MAX,
            ends => self.tick(ends).saturating_add(1),
        };
        bucket.mark(place, mark.rank, ends);
        Some(result)
    }

    /// Time as eviction needs it: units of 134 ms since the table was made, 18 years of them.
    fn tick(&self, at: Nanos) -> u32 {
        u32::try_from(at.saturating_sub(self.began) >> 27).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Copy)]
enum Missing {
    Insert,
    Leave,
}

fn refused(answer: &Answer) -> bool {
    answer.outcome != Outcome::Allow
}

/// What an unknown key, or one that cannot be counted, is told.
pub(crate) fn untouched(policy: &Policy) -> Answer {
    Answer {
        outcome: Outcome::Allow,
        remaining: policy.rate.limit + policy.rate.burst,
        wait: 0,
        first: false,
    }
}

fn rate_mark(policy: &Policy, count: &Count, refused: bool) -> Mark {
    Mark {
        rank: if refused {
            Mark::REFUSED
        } else {
            count.rank(&policy.rate)
        },
        ends: count.ends(&policy.rate),
    }
}

fn flight_mark(count: &Count) -> Mark {
    if count.current > 0 {
        Mark {
            rank: Mark::IN_FLIGHT,
            ends: Nanos::MAX,
        }
    } else {
        // 0 without a penalty: the place is free at once.
        Mark {
            rank: Mark::REFUSED,
            ends: count.blocked_until(),
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
