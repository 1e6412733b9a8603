//! The store in memory: sharded map, one eviction policy, one bound of bytes.
//!
//! A key's entry holds all its variants. A hit takes a shard's read lock, clones an `Arc` and raises a counter; only
//! filling and evicting touch the policy's lock. Locks are taken in the order policy → shard, never the other way, and
//! none is held across an await.
//!
//! An answer being received is in its entry from its head on, beside the one it will replace, and takes part in
//! look-ups; it can be evicted only after its end.

mod entry;
mod fill;
mod policy;

pub use entry::VARIANTS_MAX;
pub use fill::Fill;

use crate::CacheError;
use crate::budget::{Budget, Charge};
use crate::key::{Key, Variance};
use crate::object::{Object, Parts};
use crate::vary::Vary;
use aegis_telemetry::metrics::{CACHE_BYTES, CACHE_EVICTIONS, CACHE_OBJECTS};
use entry::Entry;
use parking_lot::{Mutex, RwLock};
use policy::{Policy, Turn};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SHARDS: usize = 16;

/// A [`Key`] is a keyed hash already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        let (high, low) = (value >> 64, value & u128::from(u64::MAX));
        self.0 = u64::try_from(high ^ low).unwrap_or_default();
    }
}

type Map = HashMap<Key, Entry, BuildHasherDefault<KeyHasher>>;

/// See the module's text.
#[derive(Debug)]
pub struct L1 {
    shards: [RwLock<Map>; SHARDS],
    policy: Mutex<Policy>,
    budget: Arc<Budget>,
    entries: AtomicUsize,
    tickets: AtomicU64,
}

impl L1 {
    /// At most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            policy: Mutex::default(),
            budget: Budget::new(limit),
            entries: AtomicUsize::new(0),
            tickets: AtomicU64::new(1),
        })
    }

    /// The bound and what is used of it.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The answer for a request whose variance `which` computes, if the URL's answers vary.
    pub fn get(
        &self,
        key: Key,
        which: impl FnOnce(&Vary) -> Option<Variance>,
    ) -> Option<Arc<Object>> {
        self.shard(key).read().get(&key)?.find(which)
    }

    /// Any of the URL's answers: to learn what they vary by.
    #[must_use]
    pub fn any(&self, key: Key) -> Option<Arc<Object>> {
        self.shard(key).read().get(&key)?.any()
    }

    /// Would an answer of `bytes` more or less fit, if all that can go goes? A look ahead; [`L1::fill`] decides.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        usize::try_from(bytes).is_ok_and(|bytes| self.reserve(bytes).is_some())
    }

    /// Begins to take in an answer. With a known `length` its room is taken now; else as it comes, up to `object_max`.
    ///
    /// # Errors
    /// [`CacheError::NoRoom`].
    pub fn fill(
        self: &Arc<Self>,
        key: Key,
        parts: Parts,
        length: Option<u64>,
        object_max: u64,
    ) -> Result<Fill, CacheError> {
        Fill::begin(self, key, parts, length, object_max)
    }

    /// Replaces a stored answer's head after its origin confirmed it. `false` if it is no longer stored, or not whole.
    pub fn freshen(self: &Arc<Self>, key: Key, old: &Arc<Object>, parts: Parts) -> bool {
        let Some(charge) = self.reserve(parts.cost()) else {
            return false;
        };
        let new = Arc::new(Object::new(parts, Arc::clone(old.body()), charge));
        let mut shard = self.shard(key).write();
        let replaced = shard
            .get_mut(&key)
            .is_some_and(|entry| entry.replace(old, new));
        drop(shard);
        self.gauge();
        replaced
    }

    /// Takes out all answers of a URL; those being received are not stored at their end.
    pub fn remove(&self, key: Key) -> bool {
        let removed = self.shard(key).write().remove(&key);
        let Some(entry) = removed else {
            return false;
        };
        self.entries.fetch_sub(1, Ordering::Relaxed);
        drop(entry);
        self.gauge();
        true
    }

    fn shard(&self, key: Key) -> &RwLock<Map> {
        let index = usize::from(key.to_bytes()[0]) % SHARDS;
        &self.shards[index]
    }

    /// Takes bytes, making room if need be.
    fn reserve(&self, bytes: usize) -> Option<Charge> {
        if bytes > self.budget.limit() {
            return None;
        }
        loop {
            if let Some(charge) = self.budget.take(bytes) {
                return Some(charge);
            }
            if !self.evict() {
                return None;
            }
        }
    }

    /// Drops one entry; `false` if none is left that could go.
    fn evict(&self) -> bool {
        let victim = self.policy.lock().victim(|key, ticket, change| {
            let shard = self.shard(key).read();
            shard
                .get(&key)
                .filter(|entry| entry.ticket == ticket)
                .map_or(Turn::Gone, |entry| Turn::Used(entry.change_uses(change)))
        });
        let Some((key, ticket)) = victim else {
            return false;
        };
        let mut shard = self.shard(key).write();
        let mut gone = Vec::new();
        if let Some(entry) = shard.get_mut(&key).filter(|entry| entry.ticket == ticket) {
            gone = entry.clear_stored();
            if entry.is_empty() {
                shard.remove(&key);
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
        drop(shard);
        CACHE_EVICTIONS.inc_by(gone.len() as u64);
        drop(gone);
        true
    }

    /// Puts an answer that is being received into its entry.
    fn begin(&self, key: Key, object: &Arc<Object>) {
        let mut shard = self.shard(key).write();
        let entry = shard.entry(key).or_insert_with(|| {
            self.entries.fetch_add(1, Ordering::Relaxed);
            Entry::new()
        });
        let gone = entry.begin(object);
        drop(shard);
        drop(gone);
    }

    /// Makes an answer whose end has been seen a stored one.
    fn commit(&self, key: Key, object: &Arc<Object>, bytes: usize) {
        let mut shard = self.shard(key).write();
        let Some(entry) = shard.get_mut(&key) else {
            return;
        };
        let Some(gone) = entry.commit(object) else {
            return;
        };
        let mut admitted = None;
        if entry.ticket == 0 {
            entry.ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            admitted = Some(entry.ticket);
        }
        drop(shard);
        drop(gone);
        if let Some(ticket) = admitted {
            let mut policy = self.policy.lock();
            policy.admit(key, ticket, bytes);
            if policy.len() > 2 * self.entries.load(Ordering::Relaxed) + 1_024 {
                policy.sweep(|key, ticket| {
                    self.shard(key)
                        .read()
                        .get(&key)
                        .is_some_and(|entry| entry.ticket == ticket)
                });
            }
        }
        self.gauge();
    }

    /// Takes an answer out again whose end will not come, or not be stored.
    fn abandon(&self, key: Key, object: &Arc<Object>) {
        let mut shard = self.shard(key).write();
        if let Some(entry) = shard.get_mut(&key) {
            entry.abandon(object);
            if entry.is_empty() {
                shard.remove(&key);
                self.entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
        drop(shard);
        self.gauge();
    }

    fn gauge(&self) {
        let as_gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        CACHE_BYTES.set(as_gauge(self.budget.used()));
        CACHE_OBJECTS.set(as_gauge(self.entries.load(Ordering::Relaxed)));
    }
}

#[cfg(test)]
#[path = "l1_tests.rs"]
mod tests;
