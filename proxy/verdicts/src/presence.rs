//! Whether a prefix may have a verdict: one cache line read for nearly every "no".
//!
//! A blocked counting Bloom filter: a keyed hash chooses a block of 128 counters of four bits, and three of them. Eight
//! counters for each verdict there can be make a full table say "maybe" to 3 in 100 of the prefixes it does not hold;
//! finding out in the shards takes four times as many looks into far more memory. A counter that reached its maximum
//! stays there: it can only say "maybe" too often.

use std::sync::atomic::{AtomicU64, Ordering};

const COUNTERS_PER_ENTRY: usize = 8;
const WORDS: usize = 8;
const COUNTERS: usize = WORDS * 16;
const MOST: u64 = 15;

pub(crate) struct Presence(Box<[Block]>);

#[derive(Default)]
#[repr(align(64))]
struct Block([AtomicU64; WORDS]);

impl Presence {
    pub(crate) fn new(entries_max: usize) -> Self {
        let blocks = (entries_max * COUNTERS_PER_ENTRY).div_ceil(COUNTERS);
        Self(
            std::iter::repeat_with(Block::default)
                .take(blocks)
                .collect(),
        )
    }

    /// Writers only, one at a time; before it can be found.
    pub(crate) fn add(&self, hash: u64) {
        self.change(hash, |count| (count + 1).min(MOST));
    }

    /// Writers only, one at a time; after it can be found no more.
    pub(crate) fn remove(&self, hash: u64) {
        self.change(hash, |count| {
            if count == MOST {
                count
            } else {
                count.saturating_sub(1)
            }
        });
    }

    pub(crate) fn maybe(&self, hash: u64) -> bool {
        self.block(hash).is_some_and(|block| {
            places(hash).all(|(word, shift)| {
                let word = block
                    .0
                    .get(word)
                    .map_or(0, |word| word.load(Ordering::Relaxed));
                word >> shift & MOST != 0
            })
        })
    }

    fn change(&self, hash: u64, change: impl Fn(u64) -> u64) {
        let Some(block) = self.block(hash) else {
            return;
        };
        for (word, shift) in places(hash) {
            if let Some(word) = block.0.get(word) {
                let counters = word.load(Ordering::Relaxed);
                let count = change(counters >> shift & MOST);
                word.store(
                    counters & !(MOST << shift) | count << shift,
                    Ordering::Relaxed,
                );
            }
        }
    }

    /// By the highest bits of the hash.
    fn block(&self, hash: u64) -> Option<&Block> {
        self.0
            .get(((u128::from(hash) * self.0.len() as u128) >> 64) as usize)
    }
}

/// By its lowest 21 bits, seven for each counter: which word, and where in it.
fn places(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    [0, 7, 14].into_iter().map(move |from| {
        let counter = hash >> from & 127;
        ((counter >> 4) as usize, (counter & 15) * 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_denied_and_little_else_is_not() {
        let mut random = fastrand::Rng::with_seed(1);
        let presence = Presence::new(10_000);
        let hashes: Vec<u64> = (0..10_000).map(|_| random.u64(..)).collect();
        for round in 0..3 {
            hashes.iter().for_each(|hash| presence.add(*hash));
            assert!(hashes.iter().all(|hash| presence.maybe(*hash)));
            let wrong = (0..100_000)
                .filter(|_| presence.maybe(random.u64(..)))
                .count();
            assert!(wrong < 6000, "round {round}: {wrong} of 100,000");
            hashes.iter().for_each(|hash| presence.remove(*hash));
        }
        let left = (0..100_000)
            .filter(|_| presence.maybe(random.u64(..)))
            .count();
        assert!(left < 100, "{left} of 100,000 when empty again");
    }

    #[test]
    fn a_counter_at_its_maximum_goes_on_saying_maybe() {
        let presence = Presence::new(1);
        (0..100).for_each(|_| presence.add(0));
        (0..200).for_each(|_| presence.remove(0));
        assert!(presence.maybe(0));
        presence.remove(1 << 3);
        assert!(!presence.maybe(1 << 3));
    }
}
