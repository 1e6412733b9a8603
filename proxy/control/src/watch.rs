//! Notices that settings, or a file they refer to, may have changed.
//!
//! Two ways, because each is blind somewhere: `notify` on the directories (a file that is replaced by a rename, and the
//! `..data` link that Kubernetes swaps, are events of the directory), and a comparison of what `stat` says, for file
//! systems where inotify is deaf. A directory may be busy with other files: events are looked at by name.

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Links followed of one path.
const LINKS_MAX: usize = 16;
/// Directories watched; what lies elsewhere is left to the comparison.
const DIRECTORIES_MAX: usize = 1024;

/// What `stat` says about a path and every link on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    links: Vec<PathBuf>,
    /// Device, inode, size, modified, changed (ns); `None` = not there.
    file: Option<(u64, u64, u64, i128, i128)>,
}

/// What `stat` says about all files of some settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(BTreeMap<PathBuf, Seen>);

impl Fingerprint {
    /// Looks at the files now.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self(
            files
                .into_iter()
                .map(|path| (path.clone(), look(path)))
                .collect(),
        )
    }
}

fn look(path: &Path) -> Seen {
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    let file = std::fs::metadata(path).ok().map(|m| {
        let modified = ns(m.mtime(), m.mtime_nsec());
        let changed = ns(m.ctime(), m.ctime_nsec());
        (m.dev(), m.ino(), m.size(), modified, changed)
    });
    Seen {
        links: Chain::of(path).visited,
        file,
    }
}

/// A path and what its links lead to.
struct Chain {
    /// The path, then each target.
    visited: Vec<PathBuf>,
    /// Every directory in which a link or the file stands.
    directories: BTreeSet<PathBuf>,
    /// Names whose change may change what the path leads to.
    names: BTreeSet<OsString>,
}

impl Chain {
    fn of(path: &Path) -> Self {
        let mut chain = Self {
            visited: Vec::new(),
            directories: BTreeSet::new(),
            names: BTreeSet::new(),
        };
        let mut queue = vec![path.to_path_buf()];
        while let Some(path) = queue.pop() {
            if chain.visited.len() >= LINKS_MAX || chain.visited.contains(&path) {
                continue;
            }
            // A directory on the way may be a link too (`..data`): look at every prefix.
            let mut prefix = PathBuf::new();
            for part in path.components() {
                let parent = prefix.clone();
                prefix.push(part);
                let is_last = prefix == path;
                let target = std::fs::read_link(&prefix).ok();
                if target.is_some() || is_last {
                    chain.names.extend(prefix.file_name().map(OsString::from));
                    chain.directories.insert(parent.clone());
                }
                if let Some(target) = target {
                    let rest = path.strip_prefix(&prefix).unwrap_or(Path::new(""));
                    let next = parent.join(target);
                    queue.push(if is_last { next } else { next.join(rest) });
                }
            }
            chain.visited.push(path);
        }
        chain
    }
}

/// The names that matter, shared with `notify`'s thread.
type Names = Arc<Mutex<BTreeSet<OsString>>>;

/// A watch on the directories of some files.
pub(crate) struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    names: Names,
}

impl Watch {
    /// Calls `changed` (from another thread, often more than once a change). Where inotify is not to be had this is
    /// logged once, and the comparison does its work alone.
    pub(crate) fn new(changed: impl Fn() + Send + 'static) -> Self {
        let names = Names::default();
        let watcher = notify::recommended_watcher({
            let names = names.clone();
            move |event: notify::Result<Event>| {
                if event.map_or(true, |event| matters(&event, &names.lock())) {
                    changed();
                }
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "files are watched by comparison only, every 5 s"),
            )
            .ok();
        Self {
            watcher,
            directories: BTreeSet::new(),
            names,
        }
    }

    /// Watches these files, and no others.
    pub(crate) fn files<'a>(&mut self, files: impl IntoIterator<Item = &'a PathBuf>) {
        let mut directories = BTreeSet::new();
        let mut names = BTreeSet::new();
        for file in files {
            let chain = Chain::of(file);
            directories.extend(chain.directories);
            names.extend(chain.names);
        }
        while directories.len() > DIRECTORIES_MAX {
            directories.pop_last();
        }
        *self.names.lock() = names;
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.directories.difference(&directories) {
            // A directory that was removed has lost its watch already.
            drop(watcher.unwatch(gone));
        }
        let mut watched = BTreeSet::new();
        for directory in directories {
            // Watched anew each time: after a swap the same name may be another directory.
            if self.directories.contains(&directory) {
                drop(watcher.unwatch(&directory));
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(directory);
                }
                Err(error) => {
                    tracing::debug!(%error, directory = %directory.display(), "not watched");
                }
            }
        }
        self.directories = watched;
    }
}

fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    match event.kind {
        // Our own reading is one; only a writer's close says something.
        EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => return false,
        _ => {}
    }
    event.need_rescan()
        || event.paths.is_empty()
        || event
            .paths
            .iter()
            .any(|path| path.file_name().is_some_and(|name| names.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(30);

    struct Watched {
        watch: Watch,
        events: mpsc::Receiver<()>,
    }

    fn watched(files: &[PathBuf]) -> Watched {
        let (tx, events) = mpsc::channel();
        let mut watch = Watch::new(move || {
            // The test has ended.
            let _gone = tx.send(());
        });
        watch.files(files);
        Watched { watch, events }
    }

    #[test]
    fn a_file_replaced_by_a_rename_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("aegis.yaml");
        fs::write(&file, "a").expect("writes");
        let before = Fingerprint::of([&file]);
        let it = watched(std::slice::from_ref(&file));
        fs::write(dir.path().join("new"), "b").expect("writes");
        fs::rename(dir.path().join("new"), &file).expect("renames");
        it.events.recv_timeout(LONG).expect("an event");
        assert_ne!(before, Fingerprint::of([&file]));
        drop(it.watch);
    }

    #[test]
    fn a_config_map_swap_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("..1", "same"), ("..2", "size")] {
            fs::create_dir(at(version)).expect("makes");
            fs::write(at(version).join("aegis.yaml"), text).expect("writes");
        }
        symlink("..1", at("..data")).expect("links");
        symlink("..data/aegis.yaml", at("aegis.yaml")).expect("links");
        let file = at("aegis.yaml");
        let before = Fingerprint::of([&file]);
        let it = watched(std::slice::from_ref(&file));
        symlink("..2", at("..data_tmp")).expect("links");
        fs::rename(at("..data_tmp"), at("..data")).expect("renames");
        it.events.recv_timeout(LONG).expect("an event");
        assert_ne!(before, Fingerprint::of([&file]));
        drop(it.watch);
    }

    #[test]
    fn other_files_of_a_busy_directory_are_not_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("aegis.yaml");
        fs::write(&file, "a").expect("writes");
        let it = watched(std::slice::from_ref(&file));
        fs::write(dir.path().join("access.log"), "x").expect("writes");
        drop(fs::read(&file).expect("reads"));
        fs::write(&file, "b").expect("writes");
        it.events.recv_timeout(LONG).expect("an event");
        let log = Event::new(EventKind::Any).add_path(dir.path().join("access.log"));
        assert!(!matters(&log, &it.watch.names.lock()));
        let own =
            Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any))).add_path(file.clone());
        assert!(!matters(&own, &it.watch.names.lock()));
        drop(it.watch);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        symlink(&b, &a).expect("links");
        symlink(&a, &b).expect("links");
        assert_eq!(Fingerprint::of([&a]), Fingerprint::of([&a]));
    }

    #[test]
    fn a_file_that_comes_or_goes_changes_the_fingerprint() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cert.pem");
        let none = Fingerprint::of([&file]);
        fs::write(&file, "a").expect("writes");
        let some = Fingerprint::of([&file]);
        assert_ne!(none, some);
        fs::remove_file(&file).expect("removes");
        assert_eq!(none, Fingerprint::of([&file]));
    }
}
