//! All verdicts of a node.

use crate::books::Books;
use crate::entry::Entry;
use crate::lengths::Lengths;
use crate::shards::Shards;
use crate::{Kind, Millis, NeverBan, Prefix, Scope, Verdict, VerdictError};
use parking_lot::{Mutex, RwLock};
use std::sync::{Arc, OnceLock};

mod judge;
mod why;

pub use judge::{Asked, Ruling};
pub use why::Covering;

/// The verdicts everybody asks and everybody feeds.
pub struct Table {
    /// Made with the first verdict: a node that has none pays one load to know it, and no memory.
    index: OnceLock<Index>,
    books: Mutex<Books>,
    never_ban: RwLock<NeverBan>,
    entries_max: usize,
    secret: [u8; 16],
}

/// How verdicts are found.
struct Index {
    shards: Shards,
    lengths: Lengths,
}

/// How a verdict is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// An operator means it: also against what is never banned.
    pub force: bool,
}

/// What became of a new verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The one that holds now.
    pub made: Verdict,
    /// The one on the same prefix and scope before.
    pub replaced: Option<Verdict>,
    /// The rules' ban that had to go for it.
    pub evicted: Option<Verdict>,
}

/// What became of verdicts read from a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// In the table now.
    pub kept: usize,
    /// Ended meanwhile.
    pub ended: usize,
    /// Refused: what they ban may not be banned any more, the table was full, or one is there already.
    pub refused: usize,
}

/// What a table holds, and what happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Verdicts in it, ended ones not yet swept among them.
    pub entries: usize,
    /// The most it holds.
    pub entries_max: usize,
    /// Rules' bans that went before their end because it was full.
    pub evicted: u64,
}

impl Table {
    /// The most verdicts a table can be made for.
    pub const ENTRIES_MAX: usize = 1_000_000;

    /// A table for so many verdicts. `secret` must be unknown to clients, and may be new at every start.
    ///
    /// # Errors
    /// [`VerdictError::Entries`].
    pub fn new(
        entries_max: usize,
        secret: [u8; 16],
        never_ban: NeverBan,
    ) -> Result<Self, VerdictError> {
        if !(1..=Self::ENTRIES_MAX).contains(&entries_max) {
            return Err(VerdictError::Entries(entries_max));
        }
        Ok(Self {
            index: OnceLock::new(),
            books: Mutex::default(),
            never_ban: RwLock::new(never_ban),
            entries_max,
            secret,
        })
    }

    /// Whether there has never been a verdict.
    pub fn is_untouched(&self) -> bool {
        self.index.get().is_none()
    }

    fn grown(&self) -> &Index {
        self.index.get_or_init(|| Index {
            shards: Shards::new(self.entries_max, self.secret),
            lengths: Lengths::new(),
        })
    }

    /// Takes a verdict in; one on the same prefix and scope is replaced. Where both are bans by rules, the one that is left
    /// holds for as long and as far as either would.
    ///
    /// # Errors
    /// [`VerdictError`] when it is not well-formed, bans what may not be banned, contradicts an operator, or has no room.
    pub fn put(
        &self,
        mut verdict: Verdict,
        terms: Terms,
        now: Millis,
    ) -> Result<Put, VerdictError> {
        verdict.check()?;
        if verdict.until.is_some_and(|until| until <= now) {
            return Err(VerdictError::Until("in the past"));
        }
        let forced = terms.force && verdict.author.is_operator();
        if verdict.kind == Kind::Ban && !forced {
            self.never_ban.read().check(verdict.prefix)?;
        }
        let mut books = self.books.lock();
        if !verdict.author.is_operator()
            && let Some(by_operator) = self.operator_on(&verdict, now)
        {
            return Err(VerdictError::OperatorHolds(by_operator));
        }
        let replaced = self.find(verdict.prefix, &verdict.scope);
        if let Some(old) = &replaced {
            verdict.take_over(&old.verdict(), now);
            self.drop_entry(&mut books, old);
        }
        let evicted = self.make_room(&mut books, now)?;
        let index = self.grown();
        index.lengths.add(&verdict.prefix);
        let made = verdict.clone();
        index.shards.insert(books.enter(verdict));
        Ok(Put {
            made,
            replaced: replaced.map(|entry| entry.verdict()),
            evicted: evicted.map(|entry| entry.verdict()),
        })
    }

    /// Takes a verdict out.
    pub fn remove(&self, prefix: Prefix, scope: &Scope) -> Option<Verdict> {
        let mut books = self.books.lock();
        let entry = self.find(prefix, scope)?;
        self.drop_entry(&mut books, &entry);
        Some(entry.verdict())
    }

    /// Takes out what ended, at most so many. Readers pass over ended verdicts by themselves; this gives room back.
    pub fn sweep(&self, most: usize, now: Millis) -> usize {
        // Locked for each, so that a ban need not wait for a million that end together.
        (0..most)
            .take_while(|_| {
                let mut books = self.books.lock();
                let ended = books.ended(now);
                ended.is_some_and(|entry| {
                    self.drop_entry(&mut books, &entry);
                    true
                })
            })
            .count()
    }

    /// Takes in verdicts read from a file, many at once.
    pub fn restore(&self, verdicts: Vec<Verdict>, now: Millis) -> Restored {
        let mut restored = Restored::default();
        let mut books = self.books.lock();
        let never_ban = self.never_ban.read();
        let mut entries = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for verdict in verdicts {
            let verdict = rebase(verdict, now);
            // An operator may have forced it; a rule's ban of what became protected since is void.
            let allowed = verdict.author.is_operator() || never_ban.check(verdict.prefix).is_ok();
            let known = self.find(verdict.prefix, &verdict.scope).is_some()
                || !seen.insert((verdict.prefix, verdict.scope.clone()));
            if verdict.until.is_some_and(|until| until <= now) {
                restored.ended += 1;
            } else if !allowed
                || known
                || verdict.check().is_err()
                || books.count() >= self.entries_max
            {
                restored.refused += 1;
            } else {
                restored.kept += 1;
                self.grown().lengths.add(&verdict.prefix);
                entries.push(books.enter(verdict));
            }
        }
        if !entries.is_empty() {
            self.grown().shards.insert_all(entries);
        }
        restored
    }

    /// Protects other prefixes from now on, and says whether they are others; bans that stand are not touched.
    pub fn protect(&self, never_ban: NeverBan) -> bool {
        let mut protected = self.never_ban.write();
        let changed = *protected != never_ban;
        *protected = never_ban;
        changed
    }

    /// Which protected prefix a ban of this one would touch, and what that is.
    pub fn protected(&self, prefix: Prefix) -> Option<(Prefix, String)> {
        match self.never_ban.read().check(prefix) {
            Err(VerdictError::Protected {
                protected, what, ..
            }) => Some((protected, what)),
            _ => None,
        }
    }

    /// What it holds and what happened to it.
    pub fn stats(&self) -> Stats {
        let books = self.books.lock();
        Stats {
            entries: books.count(),
            entries_max: self.entries_max,
            evicted: books.evicted,
        }
    }

    pub(crate) fn entries_from(&self, from: u32, most: usize) -> (Vec<Arc<Entry>>, Option<u32>) {
        self.books.lock().from(from, most)
    }

    fn find(&self, prefix: Prefix, scope: &Scope) -> Option<Arc<Entry>> {
        let mut found = None;
        self.index.get()?.shards.each(&prefix, |entry| {
            if entry.cause.scope == *scope {
                found = Some(Arc::clone(entry));
            }
        });
        found
    }

    /// The operator's verdict a rule's ban would change nothing about, because it covers all of it.
    fn operator_on(&self, verdict: &Verdict, now: Millis) -> Option<Prefix> {
        let site = match &verdict.scope {
            Scope::Node => None,
            Scope::Site(site) => Some(site),
        };
        let stands = |entry: &Entry| {
            let wide = match &entry.cause.scope {
                Scope::Node => true,
                Scope::Site(there) => Some(there) == site,
            };
            wide && entry.by_operator() && entry.holds_at(now)
        };
        let mut found = None;
        let index = self.index.get()?;
        let lengths = index.lengths.of(&verdict.prefix);
        for length in lengths.filter(|length| *length <= verdict.prefix.length()) {
            index.shards.each(&verdict.prefix.cut(length), |entry| {
                if stands(entry) {
                    found = found.or(Some(entry.prefix));
                }
            });
        }
        found
    }

    fn make_room(
        &self,
        books: &mut Books,
        now: Millis,
    ) -> Result<Option<Arc<Entry>>, VerdictError> {
        if books.count() < self.entries_max {
            return Ok(None);
        }
        if let Some(ended) = books.ended(now) {
            self.drop_entry(books, &ended);
            return Ok(None);
        }
        let Some(next) = books.next_of_rules() else {
            return Err(VerdictError::Full(self.entries_max));
        };
        self.drop_entry(books, &next);
        books.evicted += 1;
        Ok(Some(next))
    }

    fn drop_entry(&self, books: &mut Books, entry: &Entry) {
        if let Some(index) = self.index.get() {
            index.shards.remove(entry);
            books.leave(entry, &index.lengths);
        }
    }
}

/// What was made in the future was made by a clock that was wrong: it keeps its length, and begins now.
fn rebase(mut verdict: Verdict, now: Millis) -> Verdict {
    let ahead = verdict.since.saturating_sub(now);
    verdict.since -= ahead;
    verdict.until = verdict.until.map(|until| until.saturating_sub(ahead));
    verdict
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
