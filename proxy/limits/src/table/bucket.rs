//! Eight places for counts, and who has to go when a ninth comes.

use crate::Key;
use crate::window::Count;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicU64, Ordering};

/// Eight counts with what is needed to find them and to choose among them.
///
/// The head with its lock fills a cache line, each slot its own. A key has a **home** among the slots, where it is put
/// if that is free, as most are. So both lines a check needs can be asked of the memory at once, before the lock is
/// taken; otherwise the slot would wait for the head, and in a table larger than the caches that is half the time of a
/// check. For this the slots lie beside the lock instead of in it, as atomics without an order of their own: only who
/// holds the lock writes them, and what others may see of them is never used but as a hint.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    head: Mutex<Head>,
    slots: [Slot; Bucket::PLACES],
}

#[derive(Default)]
#[repr(C)]
struct Head {
    tags: [u16; Bucket::PLACES],
    ranks: [u8; Bucket::PLACES],
    /// Tick from which the count can matter no more; 0 = free.
    ends: [u32; Bucket::PLACES],
}

#[derive(Default)]
#[repr(C)]
struct Slot {
    /// Meaningless while `ends` says that the place is free.
    key: [AtomicU64; 2],
    count: [AtomicU64; Count::WORDS],
}

/// A bucket whose lock is held.
pub(super) struct Open<'a> {
    head: MutexGuard<'a, Head>,
    slots: &'a [Slot; Bucket::PLACES],
}

/// How much a count matters.
pub(super) struct Mark {
    pub(super) rank: u8,
    pub(super) ends: u64,
}

impl Mark {
    pub(super) const REFUSED: u8 = 254;
    pub(super) const IN_FLIGHT: u8 = 255;
}

/// Where a new key goes.
pub(super) enum Place {
    Free(usize),
    Evicted { place: usize, refused: bool },
    None,
}

impl Slot {
    fn is(&self, key: Key) -> bool {
        let [high, low] = &self.key;
        high.load(Ordering::Relaxed) == key.high && low.load(Ordering::Relaxed) == key.low
    }

    fn put(&self, key: Key) {
        let [high, low] = &self.key;
        high.store(key.high, Ordering::Relaxed);
        low.store(key.low, Ordering::Relaxed);
    }
}

impl Bucket {
    pub(super) const PLACES: usize = 8;

    /// Takes the lock, for a key.
    pub(super) fn open(&self, key: Key) -> Open<'_> {
        // Neither load's value is used; both are under way when the lock waits for its line.
        let _asked = self.head.is_locked();
        let _asked = self.slots.get(home(key)).is_some_and(|slot| slot.is(key));
        self.lock()
    }

    /// Takes the lock.
    pub(super) fn lock(&self) -> Open<'_> {
        Open {
            head: self.head.lock(),
            slots: &self.slots,
        }
    }
}

impl Open<'_> {
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let tag = tag(key);
        // The tags of a bucket are compared without a branch each; the keys of equal ones decide.
        let mut equal = self
            .head
            .tags
            .iter()
            .enumerate()
            .fold(0_u32, |found, (place, &other)| {
                found | u32::from(other == tag) << place
            });
        while equal != 0 {
            let place = equal.trailing_zeros() as usize;
            if self.slots.get(place).is_some_and(|slot| slot.is(key))
                && self.head.ends.get(place).is_some_and(|&ends| ends != 0)
            {
                return Some(place);
            }
            equal &= equal - 1;
        }
        None
    }

    /// Gives a place to a key that has none.
    pub(super) fn make_room(&mut self, key: Key, now: u32) -> Place {
        let (head, home) = (&mut *self.head, home(key));
        let marks = head.ranks.iter().zip(&head.ends).enumerate();
        let Some((place, (&rank, &ends))) = marks.min_by_key(|(place, (rank, ends))| {
            let matters = **ends > now;
            let rank = if matters { **rank } else { 0 };
            (matters, rank, !matters && *place != home, **ends)
        }) else {
            return Place::None;
        };
        let matters = ends > now;
        if matters && rank == Mark::IN_FLIGHT {
            return Place::None;
        }
        if let (Some(tag_there), Some(slot)) = (head.tags.get_mut(place), self.slots.get(place)) {
            *tag_there = tag(key);
            slot.put(key);
        }
        self.put(place, &Count::default());
        if matters {
            Place::Evicted {
                place,
                refused: rank == Mark::REFUSED,
            }
        } else {
            Place::Free(place)
        }
    }

    /// Places whose counts can still matter.
    pub(super) fn used(&self, now: u32) -> u64 {
        self.head.ends.iter().filter(|&&ends| ends > now).count() as u64
    }

    pub(super) fn count(&self, place: usize) -> Option<Count> {
        let words = &self.slots.get(place)?.count;
        Some(Count::of_words(
            words.each_ref().map(|word| word.load(Ordering::Relaxed)),
        ))
    }

    pub(super) fn put(&mut self, place: usize, count: &Count) {
        if let Some(slot) = self.slots.get(place) {
            for (word, value) in slot.count.iter().zip(count.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn mark(&mut self, place: usize, rank: u8, ends: u32) {
        let head = &mut *self.head;
        if let (Some(rank_there), Some(ends_there)) =
            (head.ranks.get_mut(place), head.ends.get_mut(place))
        {
            (*rank_there, *ends_there) = (rank, ends);
        }
    }
}

fn tag(key: Key) -> u16 {
    (key.low >> 48) as u16
}

/// Other bits than the bucket's and the tag's.
fn home(key: Key) -> usize {
    key.low as usize % Bucket::PLACES
}
