//! Native operators: patterns a module has the host match for it, because machine code does it ten times faster than the
//! sandbox.
//!
//! A pattern is compiled once for a plugin, whatever the number of its instances, and never changes; what a search needs
//! to write to is in [`Caches`], of which a job borrows one set, so that threads never wait for each other.
//!
//! Epochs do not interrupt a host call. Therefore every search takes time linear in its value, for a pattern whose size
//! has a bound, and a value has a longest length.

mod pattern;
mod rx;

pub(crate) use pattern::{GROUPS_MAX, Group, Pattern};

use crate::limits;
use parking_lot::Mutex;
use pattern::Memory;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Patterns of one plugin, those that were refused among them.
const PATTERNS_MAX: usize = 4096;
/// What all of them together may take, compiled.
const BYTES_MAX: usize = 128 << 20;
/// What the caches of one thread may grow to until they are thrown away.
const CACHES_MAX: usize = 48 << 20;
/// Bytes searched until the size of the caches is looked at again.
const LOOK_EVERY: usize = 256 << 10;

/// The host does not match this pattern; the module has to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

/// What a pattern was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Over text, or over bytes.
    pub(crate) text: bool,
    pub(crate) source: String,
}

/// The patterns of one plugin.
#[derive(Default)]
pub(crate) struct Patterns {
    table: Mutex<Table>,
    /// Sets of caches that no job uses now; never more than there were jobs at a time.
    caches: Mutex<Vec<Caches>>,
}

#[derive(Default)]
struct Table {
    by_source: HashMap<blake3::Hash, Result<u32, Refused>>,
    all: Vec<Arc<Pattern>>,
    /// What each of them was made from; for a snapshot, which is taken once.
    sources: Vec<Source>,
    bytes: usize,
}

impl Patterns {
    /// The pattern of this source and its number, the same for all instances; compiled if it is new.
    pub(crate) fn get(
        &self,
        text: bool,
        source: &[u8],
        compile: impl FnOnce(&[u8]) -> Result<Pattern, Refused>,
    ) -> Result<(u32, Arc<Pattern>), Refused> {
        let key = key(text, source);
        let table = &mut *self.table.lock();
        if !table.by_source.contains_key(&key) {
            if table.by_source.len() >= PATTERNS_MAX || table.bytes >= BYTES_MAX {
                limits::hit("plugin_patterns");
                return Err(Refused("the plugin has as many as it may have".into()));
            }
            let made = compile(source).map(|pattern| {
                let number = u32::try_from(table.all.len()).unwrap_or(u32::MAX);
                table.bytes = table.bytes.saturating_add(pattern.memory());
                table.all.push(Arc::new(pattern));
                table.sources.push(Source {
                    text,
                    source: String::from_utf8_lossy(source).into_owned(),
                });
                number
            });
            table.by_source.insert(key, made);
        }
        let number = match table.by_source.get(&key) {
            Some(Ok(number)) => *number,
            Some(Err(refused)) => return Err(refused.clone()),
            None => return Err(Refused("it was not compiled".into())),
        };
        let pattern = usize::try_from(number)
            .ok()
            .and_then(|at| table.all.get(at));
        let pattern = pattern.ok_or_else(|| Refused("it was not compiled".into()))?;
        Ok((number, pattern.clone()))
    }

    /// What the patterns were made from, by number. It is not kept here any longer.
    pub(crate) fn sources(&self) -> Vec<Source> {
        std::mem::take(&mut self.table.lock().sources)
    }

    /// All patterns, by number.
    pub(crate) fn all(&self) -> Arc<[Arc<Pattern>]> {
        self.table.lock().all.as_slice().into()
    }

    /// Makes the patterns of a snapshot again, on the threads it is called on; `false` if one of them cannot be.
    pub(crate) fn restore(&self, sources: &[Source]) -> bool {
        let compile = |of: &Source| rx::compile(of.source.as_bytes(), of.text);
        let made: Result<Vec<Pattern>, Refused> = sources.par_iter().map(compile).collect();
        let Ok(made) = made else {
            return false;
        };
        let numbered = sources.iter().zip(made).zip(0..);
        let all = numbered.fold(true, |so_far, ((of, pattern), number): (_, u32)| {
            let got = self.get(of.text, of.source.as_bytes(), |_| Ok(pattern));
            so_far && got.is_ok_and(|(got, _)| got == number)
        });
        drop(self.sources());
        all
    }

    fn borrow(&self) -> Caches {
        self.caches.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, mut caches: Caches) {
        if caches.fits() {
            self.caches.lock().push(caches);
        }
    }
}

fn key(text: bool, source: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("aegis native pattern 2");
    hasher.update(&[u8::from(text)]).update(source);
    hasher.finalize()
}

/// What searches write to: of one thread at a time.
#[derive(Default)]
struct Caches {
    memory: Memory,
    searched: usize,
}

impl Caches {
    fn fits(&mut self) -> bool {
        if self.searched < LOOK_EVERY {
            return true;
        }
        self.searched = 0;
        self.memory.size() <= CACHES_MAX
    }
}

/// What one instance has of its plugin's patterns.
#[derive(Default)]
pub(crate) struct Operators {
    /// Those of the snapshot the instance is a copy of; [`Self::known`] has what it compiled itself.
    copied: Option<Arc<[Arc<Pattern>]>>,
    known: Vec<Option<Arc<Pattern>>>,
    caches: Option<Caches>,
}

impl Operators {
    /// Those of a copy of a snapshot.
    pub(crate) fn of_copy(patterns: Arc<[Arc<Pattern>]>) -> Self {
        Self {
            copied: Some(patterns),
            ..Self::default()
        }
    }

    /// Compiles a pattern for this instance; its number.
    pub(crate) fn compile(
        &mut self,
        patterns: &Patterns,
        text: bool,
        source: &[u8],
    ) -> Result<u32, Refused> {
        let (number, pattern) = patterns.get(text, source, |source| rx::compile(source, text))?;
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if self.known.len() <= at {
            self.known.resize(at.saturating_add(1), None);
        }
        if let Some(place) = self.known.get_mut(at) {
            *place = Some(pattern);
        }
        Ok(number)
    }

    /// Whether the pattern matches, and where its groups are; nothing if there is no such pattern, or if the value is too
    /// long for it.
    pub(crate) fn search(
        &mut self,
        patterns: &Patterns,
        number: u32,
        value: &[u8],
        groups: &mut [Option<Group>],
    ) -> Option<bool> {
        let at = usize::try_from(number).ok()?;
        let copied = self.copied.as_ref().and_then(|copied| copied.get(at));
        let pattern = match copied {
            Some(pattern) => pattern,
            None => self.known.get(at)?.as_ref()?,
        };
        if !pattern.takes(value) {
            limits::hit("plugin_pattern_value");
            return None;
        }
        let caches = self.caches.get_or_insert_with(|| patterns.borrow());
        if !caches.fits() {
            *caches = Caches::default();
        }
        caches.searched = caches.searched.saturating_add(value.len());
        Some(pattern.search(at, &mut caches.memory, value, groups))
    }

    /// The job is over: others may have the caches.
    pub(crate) fn rest(&mut self, patterns: &Patterns) {
        if let Some(caches) = self.caches.take() {
            patterns.give_back(caches);
        }
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
