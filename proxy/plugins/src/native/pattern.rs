//! A compiled pattern, and the memory a search needs.

use regex_automata::Input;
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::primitives::NonMaxUsize;

/// Groups a search tells the places of, the whole match among them.
pub(crate) const GROUPS_MAX: usize = 10;
/// Longest value, in bytes.
const VALUE_MAX: usize = 16 << 20;
/// Longest value times the states of the pattern's automaton: what bounds a search that no cached automaton helps with, which
/// was seen to take up to 8 ns for each. The largest pattern of the Core Rule Set has 18,000 states and takes text of
/// 29 KiB; longer text the module searches itself, where it can be interrupted.
pub(super) const WORK_MAX: u64 = 1 << 29;
/// Buffers longer than this are not kept.
const SCRATCH_MAX: usize = 1 << 20;

/// Where a group is: first byte, and the one after its last.
pub(crate) type Group = (usize, usize);

/// A pattern. It never changes and may be searched with on any number of threads.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Values are UTF-8; each byte that is not counts as U+FFFD, as in Go.
    text: bool,
    /// States of the automaton.
    states: u64,
}

/// What searches write to.
#[derive(Default)]
pub(super) struct Memory {
    /// By the pattern's number.
    caches: Vec<Option<Cache>>,
    scratch: Scratch,
}

impl Pattern {
    pub(super) fn new(regex: Regex, text: bool, states: u64) -> Self {
        Self {
            regex,
            text,
            states,
        }
    }

    /// Bytes on the heap.
    pub(super) fn memory(&self) -> usize {
        self.regex.memory_usage()
    }

    #[cfg(test)]
    pub(super) fn states(&self) -> u64 {
        self.states
    }

    /// Whether this value is searched at all.
    pub(super) fn takes(&self, value: &[u8]) -> bool {
        let fits = |len: usize| {
            let work = u64::try_from(len)
                .unwrap_or(u64::MAX)
                .saturating_mul(self.states);
            len <= VALUE_MAX && work <= WORK_MAX
        };
        // A byte that is no part of UTF-8 becomes three.
        let longest = value.len().saturating_mul(3);
        fits(longest) || (fits(value.len()) && (!self.text || std::str::from_utf8(value).is_ok()))
    }

    /// Whether it matches; with room for groups, also where the leftmost match and its groups are.
    pub(super) fn search(
        &self,
        number: usize,
        memory: &mut Memory,
        value: &[u8],
        groups: &mut [Option<Group>],
    ) -> bool {
        let Memory { caches, scratch } = memory;
        if caches.len() <= number {
            caches.resize_with(number + 1, || None);
        }
        let Some(place) = caches.get_mut(number) else {
            return false;
        };
        let cache = place.get_or_insert_with(|| self.regex.create_cache());
        let replaced = self.text && scratch.replace(value);
        let haystack = if replaced { &scratch.bytes } else { value };
        if groups.is_empty() {
            let input = Input::new(haystack).earliest(true);
            let found = self.regex.search_half_with(cache, &input).is_some();
            scratch.rest();
            return found;
        }
        let mut slots = [None; 2 * GROUPS_MAX];
        let room = (groups.len() * 2).min(slots.len());
        let Some(slots) = slots.get_mut(..room) else {
            return false;
        };
        let found = self
            .regex
            .search_slots_with(cache, &Input::new(haystack), slots)
            .is_some();
        let place = |slot: Option<NonMaxUsize>| {
            let at = slot?.get();
            Some(if replaced { scratch.original(at) } else { at })
        };
        for (group, slots) in groups.iter_mut().zip(slots.chunks_exact(2)) {
            *group = match slots {
                [from, to] => place(*from).zip(place(*to)),
                _ => None,
            };
        }
        scratch.rest();
        found
    }
}

impl Memory {
    #[cfg(test)]
    pub(super) fn grow(&mut self, bytes: usize) {
        self.scratch.bytes.reserve(bytes + 1);
    }

    /// Bytes on the heap.
    pub(super) fn size(&self) -> usize {
        let caches = self.caches.iter().flatten().map(Cache::memory_usage);
        caches.sum::<usize>() + self.scratch.bytes.capacity() + 4 * self.scratch.replaced.capacity()
    }
}

/// A value made UTF-8.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    /// Where in it the replacement characters begin that stand for one byte.
    replaced: Vec<u32>,
}

impl Scratch {
    /// Puts U+FFFD, three bytes, for every byte that is no part of UTF-8; false if there is none.
    fn replace(&mut self, value: &[u8]) -> bool {
        if std::str::from_utf8(value).is_ok() {
            return false;
        }
        self.bytes.clear();
        self.replaced.clear();
        for chunk in value.utf8_chunks() {
            self.bytes.extend_from_slice(chunk.valid().as_bytes());
            for _ in chunk.invalid() {
                let at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
                self.replaced.push(at);
                self.bytes.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        true
    }

    /// The place in the value for one in what was made of it.
    fn original(&self, at: usize) -> usize {
        let before = self
            .replaced
            .partition_point(|start| usize::try_from(*start).is_ok_and(|start| start < at));
        at.saturating_sub(2 * before)
    }

    fn rest(&mut self) {
        if self.bytes.capacity() > SCRATCH_MAX {
            *self = Self::default();
        }
    }
}
