//! What only writers need: who ends when, what is shared, how many there are.

use crate::entry::{Cause, Entry};
use crate::lengths::Lengths;
use crate::{Millis, Verdict};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The writers' view of the table; behind its one lock.
#[derive(Default)]
pub(crate) struct Books {
    /// By id; ids are used again.
    entries: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
    /// Rules' bans by their end.
    rules: BTreeSet<(Millis, u32)>,
    /// Operators' verdicts by their end.
    operators: BTreeSet<(Millis, u32)>,
    causes: HashSet<Arc<Cause>>,
    causes_swept_at: usize,
    /// How many verdicts have a prefix of this family and length.
    lengths: [Vec<u32>; 2],
    pub(crate) evicted: u64,
}

impl Books {
    pub(crate) fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Gives a verdict its place.
    pub(crate) fn enter(&mut self, verdict: Verdict) -> Arc<Entry> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // Tables are bounded far below 2^32.
            (self.entries.len() - 1) as u32
        });
        let cause = self.cause(&verdict);
        let entry = Arc::new(Entry::new(verdict, cause, id));
        self.by_end(&entry).insert((entry.until, id));
        let length = usize::from(entry.prefix.length());
        let lengths = &mut self.lengths[usize::from(entry.prefix.is_v6())];
        lengths.resize(lengths.len().max(length + 1), 0);
        if let Some(count) = lengths.get_mut(length) {
            *count += 1;
        }
        if let Some(place) = self.entries.get_mut(id as usize) {
            *place = Some(Arc::clone(&entry));
        }
        entry
    }

    /// Takes a verdict out, after readers can find it no more.
    pub(crate) fn leave(&mut self, entry: &Entry, lengths: &Lengths) {
        let Some(place) = self.entries.get_mut(entry.id as usize) else {
            return;
        };
        if place.take().is_none() {
            return;
        }
        self.free.push(entry.id);
        self.by_end(entry).remove(&(entry.until, entry.id));
        let (v6, length) = (entry.prefix.is_v6(), entry.prefix.length());
        if let Some(count) = self.lengths[usize::from(v6)].get_mut(usize::from(length)) {
            *count -= 1;
            if *count == 0 {
                lengths.unused(v6, length);
            }
        }
    }

    /// The verdict that ended first, if one did.
    pub(crate) fn ended(&self, now: Millis) -> Option<Arc<Entry>> {
        let first = |ends: &BTreeSet<(Millis, u32)>| ends.first().copied();
        let (until, id) = [first(&self.rules), first(&self.operators)]
            .into_iter()
            .flatten()
            .min()?;
        (until <= now).then(|| self.get(id)).flatten()
    }

    /// The rules' ban that ends first.
    pub(crate) fn next_of_rules(&self) -> Option<Arc<Entry>> {
        self.rules.first().and_then(|(_, id)| self.get(*id))
    }

    /// Verdicts by id from `from` on, and where to go on.
    pub(crate) fn from(&self, from: u32, most: usize) -> (Vec<Arc<Entry>>, Option<u32>) {
        let mut found = Vec::new();
        for (id, place) in (from..).zip(self.entries.iter().skip(from as usize)) {
            if found.len() >= most {
                return (found, Some(id));
            }
            found.extend(place.clone());
        }
        (found, None)
    }

    fn get(&self, id: u32) -> Option<Arc<Entry>> {
        self.entries.get(id as usize)?.clone()
    }

    fn by_end(&mut self, entry: &Entry) -> &mut BTreeSet<(Millis, u32)> {
        if entry.by_operator() {
            &mut self.operators
        } else {
            &mut self.rules
        }
    }

    fn cause(&mut self, verdict: &Verdict) -> Arc<Cause> {
        let cause = Cause {
            kind: verdict.kind,
            scope: verdict.scope.clone(),
            author: verdict.author.clone(),
            reason: Arc::clone(&verdict.reason),
        };
        if let Some(known) = self.causes.get(&cause) {
            return Arc::clone(known);
        }
        // Those no verdict has any more go when their number doubled, so that each is looked at a few times at most.
        if self.causes.len() >= (self.causes_swept_at * 2).max(1024) {
            self.causes.retain(|cause| Arc::strong_count(cause) > 1);
            self.causes_swept_at = self.causes.len();
        }
        let cause = Arc::new(cause);
        self.causes.insert(Arc::clone(&cause));
        cause
    }
}
