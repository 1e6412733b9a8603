//! The verdicts by prefix, in small snapshots that are read without a lock.
//!
//! A shard is a list sorted by the keyed hashes of prefixes; hashes are uniform, so where one must be is computed, and
//! the search is a few steps. A change copies its shard: some 250 entries when the table is full. With fewer in each, the
//! shards themselves would no longer stay in the CPU's cache.

use crate::Prefix;
use crate::entry::Entry;
use crate::presence::Presence;
use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;

/// Per shard when the table is full.
const ENTRIES_PER_SHARD: usize = 256;

pub(crate) struct Shards {
    shards: Box<[ArcSwap<Shard>]>,
    presence: Presence,
    /// Clients choose addresses; without a secret they could choose one shard for all of theirs.
    secret: (u64, u64),
}

#[derive(Default)]
struct Shard(Box<[(u64, Arc<Entry>)]>);

impl Shards {
    pub(crate) fn new(entries_max: usize, secret: [u8; 16]) -> Self {
        let count = (entries_max / ENTRIES_PER_SHARD).next_power_of_two();
        let empty = Arc::new(Shard::default());
        let secret = u128::from_le_bytes(secret);
        Self {
            shards: (0..count)
                .map(|_| ArcSwap::new(Arc::clone(&empty)))
                .collect(),
            presence: Presence::new(entries_max),
            secret: (secret as u64, (secret >> 64) as u64),
        }
    }

    /// Every verdict on exactly this prefix.
    #[inline]
    pub(crate) fn each(&self, prefix: &Prefix, mut see: impl FnMut(&Arc<Entry>)) {
        let hash = self.hash(prefix);
        if !self.presence.maybe(hash) {
            return;
        }
        let Some(shard) = self.shards.get(self.index(hash)) else {
            return;
        };
        let shard = shard.load();
        let from = shard.find(hash, self.shards.len());
        let entries = shard.0.iter().skip(from);
        for (_, entry) in entries.take_while(|(there, _)| *there == hash) {
            if entry.prefix == *prefix {
                see(entry);
            }
        }
    }

    /// Writers only, one at a time.
    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        let hash = self.hash(&entry.prefix);
        self.presence.add(hash);
        self.change(hash, |entries, at| entries.insert(at, (hash, entry)));
    }

    /// Writers only, one at a time.
    pub(crate) fn remove(&self, entry: &Entry) {
        let hash = self.hash(&entry.prefix);
        self.change(hash, |entries, from| {
            let same = |(_, (_, there)): &(usize, &(u64, Arc<Entry>))| there.id == entry.id;
            if let Some((at, _)) = entries.iter().enumerate().skip(from).find(same) {
                entries.remove(at);
                self.presence.remove(hash);
            }
        });
    }

    /// Many at once: every shard is copied once.
    pub(crate) fn insert_all(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        let mut new: Vec<Vec<(u64, Arc<Entry>)>> = vec![Vec::new(); self.shards.len()];
        for entry in entries {
            let hash = self.hash(&entry.prefix);
            self.presence.add(hash);
            if let Some(shard) = new.get_mut(self.index(hash)) {
                shard.push((hash, entry));
            }
        }
        for (shard, mut new) in self.shards.iter().zip(new) {
            if new.is_empty() {
                continue;
            }
            let old = shard.load();
            new.extend(old.0.iter().cloned());
            new.sort_by_key(|(hash, _)| *hash);
            shard.store(Arc::new(Shard(new.into_boxed_slice())));
        }
    }

    fn change(&self, hash: u64, change: impl FnOnce(&mut Vec<(u64, Arc<Entry>)>, usize)) {
        if let Some(shard) = self.shards.get(self.index(hash)) {
            let old = shard.load();
            let from = old.find(hash, self.shards.len());
            let mut entries = Vec::with_capacity(old.0.len() + 1);
            entries.extend_from_slice(&old.0);
            change(&mut entries, from);
            shard.store(Arc::new(Shard(entries.into_boxed_slice())));
        }
    }

    fn hash(&self, prefix: &Prefix) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        let mut bytes = [0; 17];
        if let Some((length, bits)) = bytes.split_first_mut() {
            // The highest bit tells the families apart.
            *length = prefix.length() | u8::from(prefix.is_v6()) << 7;
            bits.copy_from_slice(&prefix.bits().to_be_bytes());
        }
        hasher.write(&bytes);
        hasher.finish()
    }

    /// The highest bits choose the shard.
    fn index(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.shards.len() as u128) >> 64) as usize
    }
}

impl Shard {
    /// Where the first entry with this hash is, or would be. The bits after those that chose the shard say about where.
    fn find(&self, hash: u64, shards: usize) -> usize {
        let within = hash.wrapping_mul(shards as u64);
        let mut at = ((u128::from(within) * self.0.len() as u128) >> 64) as usize;
        let there = |at: usize| self.0.get(at).map(|(there, _)| *there);
        while let Some(before) = at.checked_sub(1)
            && there(before).is_some_and(|there| there >= hash)
        {
            at = before;
        }
        while there(at).is_some_and(|there| there < hash) {
            at += 1;
        }
        at
    }
}
