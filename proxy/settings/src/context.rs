//! What a reading carries along: where it stands, what it has found wrong, and how it finds files.

use crate::limits::PROBLEMS_MAX;
use crate::node::{Node, Place};
use crate::problem::{At, Problem, Severity};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// State of one reading.
pub(crate) struct Context<'a> {
    /// The file's name in messages.
    pub(crate) file: &'a str,
    /// What relative paths start from.
    pub(crate) base: &'a Path,
    /// Files that are to be read somewhere else, by their absolute path.
    pub(crate) moved: &'a BTreeMap<PathBuf, PathBuf>,
    path: String,
    problems: Vec<Problem>,
    dropped: usize,
    /// Keys with an error: what is checked later says no more about them.
    bad: HashSet<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        file: &'a str,
        base: &'a Path,
        moved: &'a BTreeMap<PathBuf, PathBuf>,
    ) -> Self {
        Self {
            file,
            base,
            moved,
            path: String::new(),
            problems: Vec::new(),
            dropped: 0,
            bad: HashSet::new(),
        }
    }

    /// The key being read.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Reads what stands under a key.
    pub(crate) fn under<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// Reads an element of a list.
    pub(crate) fn element<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// An error at the key being read.
    pub(crate) fn error(&mut self, place: Place, what: &str, help: Option<String>) {
        let path = self.path.clone();
        let message = if path.is_empty() {
            what.to_owned()
        } else {
            format!("{path}: {what}")
        };
        self.error_at(place, &path, message, help);
    }

    /// What stands at the key being read was refused already.
    pub(crate) fn mark_bad(&mut self) {
        self.bad.insert(self.path.clone());
    }

    /// An error at any key, in a whole sentence.
    pub(crate) fn error_at(
        &mut self,
        place: Place,
        key: &str,
        message: String,
        help: Option<String>,
    ) {
        self.bad.insert(key.to_owned());
        self.push(Severity::Error, place, key, message, help);
    }

    /// A warning at any key, in a whole sentence.
    pub(crate) fn warn_at(
        &mut self,
        place: Place,
        key: &str,
        message: String,
        help: Option<String>,
    ) {
        self.push(Severity::Warning, place, key, message, help);
    }

    fn push(
        &mut self,
        severity: Severity,
        place: Place,
        key: &str,
        message: String,
        help: Option<String>,
    ) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.dropped += 1;
            return;
        }
        let at = At {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
        };
        self.problems.push(Problem {
            severity,
            key: key.to_owned(),
            message,
            help,
            at: Some(at),
        });
    }

    /// Whether a key, or one it stands under, has an error already.
    pub(crate) fn is_bad(&self, key: &str) -> bool {
        let ends = key
            .char_indices()
            .filter(|(_, character)| matches!(character, '.' | '['))
            .map(|(end, _)| end);
        ends.chain([key.len()])
            .any(|end| key.get(..end).is_some_and(|part| self.bad.contains(part)))
    }

    /// Whether more problems would only be counted.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }

    /// Whether there is any error.
    pub(crate) fn has_errors(&self) -> bool {
        !self.bad.is_empty()
    }

    /// `aegis.yaml:14`, for where a value came from.
    pub(crate) fn source(&self, line: u32) -> String {
        let name = Path::new(self.file)
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(self.file);
        format!("{name}:{line}")
    }

    /// The file a path stands for.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        let path = normal(&self.base.join(path));
        self.moved.get(&path).cloned().unwrap_or(path)
    }

    /// All problems in order of the file.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        self.problems
            .sort_by(|a, b| (&a.at, a.severity).cmp(&(&b.at, b.severity)));
        self.problems.dedup();
        if self.dropped > 0 {
            self.problems.push(Problem {
                severity: Severity::Error,
                key: String::new(),
                message: format!("{} more problems are not shown", self.dropped),
                help: Some("mend the first ones and look again".to_owned()),
                at: None,
            });
        }
        self.problems
    }
}

/// The path without `.` parts; `..` stays, because a symbolic link may stand before it.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

/// A problem at a key, placed by the tree: what checks over several keys use.
pub(crate) struct Checker<'a, 'c> {
    pub(crate) root: &'a Node,
    pub(crate) context: &'a mut Context<'c>,
}

impl Checker<'_, '_> {
    /// `{key}{what}` is wrong.
    pub(crate) fn error(&mut self, key: &str, what: &str, help: impl Into<String>) {
        let place = self.root.place_of(key);
        self.context
            .error_at(place, key, format!("{key}{what}"), Some(help.into()));
    }

    /// `{key}{what}` may not do what was meant.
    pub(crate) fn warn(&mut self, key: &str, what: &str, help: impl Into<String>) {
        let place = self.root.place_of(key);
        self.context
            .warn_at(place, key, format!("{key}{what}"), Some(help.into()));
    }

    /// Whether a key has an error already.
    pub(crate) fn is_bad(&self, key: &str) -> bool {
        self.context.is_bad(key)
    }
}
