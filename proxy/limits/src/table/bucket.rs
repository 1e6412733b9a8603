//! Eight places for counts, and who has to go when a ninth comes.

use crate::Key;
use crate::window::Count;

/// Eight counts with what is needed to find them and to choose among them. In this order behind a lock of one byte, the
/// first three fields fill a cache line, and each slot its own.
#[derive(Default)]
#[repr(C)]
pub(super) struct Bucket {
    tags: [u16; Self::PLACES],
    ranks: [u8; Self::PLACES],
    /// Tick from which the count can matter no more; 0 = free.
    ends: [u32; Self::PLACES],
    slots: [Slot; Self::PLACES],
}

#[derive(Default)]
#[repr(C)]
struct Slot {
    /// Meaningless while `ends` says that the place is free.
    key: Key,
    count: Count,
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

impl Bucket {
    pub(super) const PLACES: usize = 8;

    pub(super) fn find(&self, key: Key) -> Option<usize> {
        let tag = tag(key);
        // The tags of a bucket are compared without a branch each; the keys of equal ones decide.
        let mut equal = self
            .tags
            .iter()
            .enumerate()
            .fold(0_u32, |found, (place, &other)| {
                found | u32::from(other == tag) << place
            });
        while equal != 0 {
            let place = equal.trailing_zeros() as usize;
            if self.slots.get(place).is_some_and(|slot| slot.key == key)
                && self.ends.get(place).is_some_and(|&ends| ends != 0)
            {
                return Some(place);
            }
            equal &= equal - 1;
        }
        None
    }

    /// Gives a place to a key that has none.
    pub(super) fn make_room(&mut self, key: Key, now: u32) -> Place {
        let marks = self.ranks.iter().zip(&self.ends).enumerate();
        let Some((place, (&rank, &ends))) = marks.min_by_key(|(_, (rank, ends))| {
            let matters = **ends > now;
            (matters, if matters { **rank } else { 0 }, **ends)
        }) else {
            return Place::None;
        };
        let matters = ends > now;
        if matters && rank == Mark::IN_FLIGHT {
            return Place::None;
        }
        if let (Some(tag_there), Some(slot)) = (self.tags.get_mut(place), self.slots.get_mut(place))
        {
            *tag_there = tag(key);
            *slot = Slot {
                key,
                count: Count::default(),
            };
        }
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
        self.ends.iter().filter(|&&ends| ends > now).count() as u64
    }

    pub(super) fn count(&mut self, place: usize) -> Option<&mut Count> {
        self.slots.get_mut(place).map(|slot| &mut slot.count)
    }

    pub(super) fn mark(&mut self, place: usize, rank: u8, ends: u32) {
        if let (Some(rank_there), Some(ends_there)) =
            (self.ranks.get_mut(place), self.ends.get_mut(place))
        {
            (*rank_there, *ends_there) = (rank, ends);
        }
    }
}

fn tag(key: Key) -> u16 {
    (key.low >> 48) as u16
}
