//! Who goes first when room is needed: S3-FIFO (Yang et al., SOSP 2023).
//!
//! Three queues: newcomers, the proven, and the hashes of those that went lately. A hit only raises a counter in the
//! entry, so readers never come here. Newcomers hold about a tenth of the bytes: what is asked for once leaves by them
//! without pushing out what is asked for often.

use crate::key::Key;
use std::collections::{HashSet, VecDeque};

/// Newcomers hold one part in so many.
const SMALL_SHARE: usize = 10;
/// Most hashes remembered of those that went.
const GHOSTS_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
struct Node {
    key: Key,
    /// Which admission of the key: an entry taken out and admitted again leaves its old node behind.
    ticket: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Policy {
    small: VecDeque<Node>,
    main: VecDeque<Node>,
    small_bytes: usize,
    main_bytes: usize,
    ghosts: VecDeque<Key>,
    ghost_set: HashSet<Key>,
}

/// What an entry says when its turn comes.
pub(super) enum Turn {
    /// Not there any more.
    Gone,
    /// Hits since it was last looked at (0–3).
    Used(u8),
}

impl Policy {
    /// Takes in an entry.
    pub(super) fn admit(&mut self, key: Key, ticket: u64, bytes: usize) {
        let node = Node { key, ticket, bytes };
        if self.ghost_set.remove(&key) {
            self.main_bytes += bytes;
            self.main.push_back(node);
        } else {
            self.small_bytes += bytes;
            self.small.push_back(node);
        }
    }

    /// Nodes in the queues, left-behind ones among them.
    pub(super) fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// Drops the nodes of entries that are gone.
    pub(super) fn sweep(&mut self, is_there: impl Fn(Key, u64) -> bool) {
        for (queue, bytes) in [
            (&mut self.small, &mut self.small_bytes),
            (&mut self.main, &mut self.main_bytes),
        ] {
            queue.retain(|node| is_there(node.key, node.ticket));
            *bytes = queue.iter().map(|node| node.bytes).sum();
        }
    }

    /// The next entry to go. `turn` looks at an entry and sets its counter to what its second argument makes of it.
    pub(super) fn victim(
        &mut self,
        turn: impl Fn(Key, u64, fn(u8) -> u8) -> Turn,
    ) -> Option<(Key, u64)> {
        loop {
            let from_small = !self.small.is_empty()
                && (self.main.is_empty()
                    || self.small_bytes * SMALL_SHARE >= self.small_bytes + self.main_bytes);
            if from_small {
                let node = self.small.pop_front()?;
                self.small_bytes = self.small_bytes.saturating_sub(node.bytes);
                match turn(node.key, node.ticket, |_| 0) {
                    Turn::Gone => {}
                    Turn::Used(0) => {
                        self.remember(node.key);
                        return Some((node.key, node.ticket));
                    }
                    Turn::Used(_) => {
                        self.main_bytes += node.bytes;
                        self.main.push_back(node);
                    }
                }
            } else {
                let node = self.main.pop_front()?;
                match turn(node.key, node.ticket, |used| used.saturating_sub(1)) {
                    Turn::Gone => self.main_bytes = self.main_bytes.saturating_sub(node.bytes),
                    Turn::Used(0) => {
                        self.main_bytes = self.main_bytes.saturating_sub(node.bytes);
                        return Some((node.key, node.ticket));
                    }
                    Turn::Used(_) => self.main.push_back(node),
                }
            }
        }
    }

    fn remember(&mut self, key: Key) {
        // As many as there are entries: what went longer ago than a whole turnover says nothing.
        let bound = self.len().clamp(64, GHOSTS_MAX);
        while self.ghosts.len() >= bound {
            if let Some(oldest) = self.ghosts.pop_front() {
                self.ghost_set.remove(&oldest);
            }
        }
        if self.ghost_set.insert(key) {
            self.ghosts.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    fn turn(used: &RefCell<HashMap<u128, u8>>) -> impl Fn(Key, u64, fn(u8) -> u8) -> Turn + '_ {
        |key, _, change| match used.borrow_mut().get_mut(&key.0) {
            None => Turn::Gone,
            Some(count) => Turn::Used(std::mem::replace(count, change(*count))),
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes_first() {
        let used = RefCell::new(HashMap::from([(1, 0), (2, 3), (3, 0)]));
        let mut policy = Policy::default();
        for key in 1..=3 {
            policy.admit(Key(key), 1, 10);
        }
        let mut order = Vec::new();
        while let Some((key, _)) = policy.victim(turn(&used)) {
            used.borrow_mut().remove(&key.0);
            order.push(key.0);
        }
        assert_eq!(order, [1, 3, 2]);
        assert_eq!((policy.small_bytes, policy.main_bytes), (0, 0));
    }

    #[test]
    fn what_comes_back_soon_is_taken_for_proven() {
        let used = RefCell::new(HashMap::from([(1, 0)]));
        let mut policy = Policy::default();
        policy.admit(Key(1), 1, 10);
        assert!(policy.victim(turn(&used)).is_some());
        policy.admit(Key(1), 2, 10);
        assert_eq!((policy.small.len(), policy.main.len()), (0, 1));
    }

    #[test]
    fn nodes_of_entries_that_are_gone_are_skipped_and_swept() {
        let used = RefCell::new(HashMap::from([(2, 0)]));
        let mut policy = Policy::default();
        policy.admit(Key(1), 1, 10);
        policy.admit(Key(2), 2, 10);
        policy.sweep(|key, _| key.0 == 2);
        assert_eq!((policy.len(), policy.small_bytes), (1, 10));
        policy.admit(Key(3), 3, 10);
        assert_eq!(policy.victim(turn(&used)), Some((Key(2), 2)));
        assert_eq!(policy.victim(turn(&used)), None);
    }

    #[test]
    fn the_memory_of_those_that_went_is_bounded() {
        let used = RefCell::new(HashMap::new());
        let mut policy = Policy::default();
        for key in 0..1_000_u128 {
            used.borrow_mut().insert(key, 0);
            policy.admit(Key(key), 1, 1);
            assert!(policy.victim(turn(&used)).is_some());
        }
        assert!(
            policy.ghosts.len() <= 64 && policy.ghost_set.len() <= 64,
            "{}",
            policy.ghosts.len()
        );
    }
}
