//! Verdicts on disk: a snapshot, and a journal of what changed since. The one place in this room that touches files.
//!
//! A directory (0700) of the node's own:
//! - `snapshot`, replaced as a whole by rename;
//! - `journal`, appended to; begun anew after each snapshot;
//! - `lock`, held as long as somebody writes: a process that ends slowly cannot overwrite what its successor keeps;
//! - `*.damaged`, what could not be read, for people.
//!
//! Whatever is found there is data to be judged: what is whole is used, what is not is set aside and told. A crash at any
//! moment costs at most the changes that [`Store::sync`] had not confirmed.
//!
//! **Limits.** A journal is begun anew when it outgrows the snapshot and 4 MiB; past 64 MiB
//! nothing more is written to it.

use crate::{
    Change, Millis, PersistError, Prefix, Scope, Table, Verdict, encode_change, journal_header,
    read_journal, read_snapshot, write_snapshot,
};
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A journal shorter than this is not worth a snapshot.
pub(crate) const JOURNAL_MIN: u64 = 4 << 20;
/// The most a journal may hold when no snapshot can be written.
pub(crate) const JOURNAL_MAX: u64 = 64 << 20;
/// The most a snapshot can hold: a table full of the longest verdicts.
const SNAPSHOT_MAX: u64 = 1 << 30;

/// What was found on disk.
#[derive(Debug, Default)]
pub struct Found {
    /// The verdicts, for [`Table::restore`].
    pub verdicts: Vec<Verdict>,
    /// What could not be read, in sentences.
    pub problems: Vec<String>,
}

/// Files that only this process writes.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    journal: File,
    journal_bytes: u64,
    snapshot_bytes: u64,
    /// The journal may end in half a change: nothing may follow it.
    torn: bool,
    /// Held until it is dropped.
    _lock: File,
}

impl Store {
    /// Reads what was kept. Nobody needs to be the writer for that.
    pub fn read(dir: &Path) -> Found {
        let mut found = Found::default();
        let mut kept: HashMap<(Prefix, Scope), Verdict> = HashMap::new();
        if let Some(bytes) = found.bytes(&dir.join("snapshot"), SNAPSHOT_MAX) {
            match read_snapshot(&bytes) {
                Ok(verdicts) => kept.extend(verdicts.into_iter().map(keyed)),
                Err(error) => found.set_aside(&dir.join("snapshot"), &error),
            }
        }
        if let Some(bytes) = found.bytes(&dir.join("journal"), JOURNAL_MAX * 2) {
            for change in found.changes(&dir.join("journal"), &bytes) {
                match change {
                    Change::Put(verdict) => kept.extend([keyed(verdict)]),
                    Change::Removed { prefix, scope } => {
                        kept.remove(&(prefix, scope));
                    }
                }
            }
        }
        found.verdicts = kept.into_values().collect();
        // If there is no longer room for all, the rules' bans are left out.
        found
            .verdicts
            .sort_by_key(|verdict| !verdict.author.is_operator());
        found
    }

    /// Becomes the one who writes there; `None` while another process is. What is to be kept must then be written by
    /// [`Store::snapshot`] first: the journal begins empty.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub fn open(dir: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Until the first snapshot the old journal counts; what is appended to it now could follow half a change.
        let journal = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(dir.join("journal"))?;
        Ok(Some(Self {
            dir: dir.to_path_buf(),
            journal_bytes: journal.metadata()?.len(),
            journal,
            snapshot_bytes: 0,
            torn: true,
            _lock: lock,
        }))
    }

    /// Appends changes, made while the wall clock was `ahead` of the table's.
    ///
    /// # Errors
    /// They are not kept until the next [`Store::snapshot`], and neither is what would follow them.
    pub fn append(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        ahead: i64,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for change in changes {
            bytes.extend_from_slice(&encode_change(&match change {
                Change::Put(verdict) => Change::Put(verdict.on_clock(ahead)),
                removed @ Change::Removed { .. } => removed,
            }));
        }
        let full = self.journal_bytes.saturating_add(bytes.len() as u64) > JOURNAL_MAX;
        if self.torn || full {
            self.torn = true;
            return Err(io::Error::other(
                "the journal can take nothing more until a snapshot is written",
            ));
        }
        self.journal
            .write_all(&bytes)
            .inspect_err(|_| self.torn = true)?;
        self.journal_bytes += bytes.len() as u64;
        Ok(())
    }

    /// What was appended survives a loss of power from here on.
    ///
    /// # Errors
    /// It may not.
    pub fn sync(&mut self) -> io::Result<()> {
        // After a failed fsync the kernel may have dropped what it could not write.
        self.journal.sync_data().inspect_err(|_| self.torn = true)
    }

    /// Whether the journal can not be appended to, or has outgrown the snapshot.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.torn || self.journal_bytes > self.snapshot_bytes.max(JOURNAL_MIN)
    }

    /// Whether anything was appended since the last snapshot.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.torn || self.journal_bytes > journal_header().len() as u64
    }

    /// Writes the whole table, and begins the journal anew.
    ///
    /// # Errors
    /// What was kept before is still there.
    pub fn snapshot(&mut self, table: &Table, now: Millis, ahead: i64) -> io::Result<()> {
        self.snapshot_bytes = self.replace("snapshot", |out| {
            let mut out = BufWriter::new(out);
            write_snapshot(table, now, ahead, &mut out)?;
            out.flush()
        })?;
        // Whatever the old journal holds was in the table before, and so is in the snapshot. If this is where the power
        // goes, it is read once more over it: changes that nobody was told are kept may be undone, no others.
        self.journal_bytes = self.replace("journal", |out| out.write_all(&journal_header()))?;
        self.journal = OpenOptions::new()
            .append(true)
            .open(self.dir.join("journal"))?;
        self.torn = false;
        Ok(())
    }

    /// Puts a file in place whole, or not at all.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<u64> {
        let new = self.dir.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        write(&mut file)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(&new, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(bytes)
    }
}

fn keyed(verdict: Verdict) -> ((Prefix, Scope), Verdict) {
    ((verdict.prefix, verdict.scope.clone()), verdict)
}

impl Found {
    /// A file that may not be there.
    fn bytes(&mut self, path: &Path, max: u64) -> Option<Vec<u8>> {
        let read = || {
            let metadata = fs::symlink_metadata(path)?;
            if !metadata.is_file() || metadata.len() > max {
                return Err(io::Error::other("it is no file that this program wrote"));
            }
            let mut bytes = Vec::new();
            File::open(path)?.take(max).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.problems.push(format!("{}: {error}", path.display()));
                None
            }
        }
    }

    fn changes(&mut self, path: &Path, bytes: &[u8]) -> Vec<Change> {
        // Made and not yet begun.
        if bytes.is_empty() {
            return Vec::new();
        }
        match read_journal(bytes, usize::MAX) {
            Ok(changes) => changes,
            Err(error @ PersistError::Journal { intact }) => {
                self.set_aside(path, &error);
                let whole = bytes.get(..intact).unwrap_or_default();
                read_journal(whole, usize::MAX).unwrap_or_default()
            }
            Err(error) => {
                self.set_aside(path, &error);
                Vec::new()
            }
        }
    }

    /// Keeps a damaged file for people, the newest of each.
    fn set_aside(&mut self, path: &Path, error: &PersistError) {
        let aside = path.with_extension("damaged");
        let moved = fs::copy(path, &aside).map_or_else(
            |error| format!("and no copy could be made: {error}"),
            |_| format!("a copy is {}", aside.display()),
        );
        self.problems
            .push(format!("{}: {error}; {moved}", path.display()));
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
