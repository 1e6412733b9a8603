//! Which settings a node starts with.

use crate::lkg::Store;
use crate::load::{self, Extras, Good};
use crate::plane::Copies;
use aegis_settings::limits::FILE_BYTES_MAX;
use aegis_settings::resolved::Validated;
use aegis_settings::{Problem, Severity};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the settings in force came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The settings file.
    File,
    /// Last known good: the file was refused.
    LastGood,
    /// The command line.
    Flags,
}

impl From {
    /// As in `/status` and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::LastGood => "last-known-good",
            Self::Flags => "command-line",
        }
    }
}

/// What a node starts with.
#[derive(Debug)]
pub struct Boot {
    /// The settings file, absolute; none with [`From::Flags`].
    pub path: Option<PathBuf>,
    /// Where the settings came from.
    pub from: From,
    /// Why the file was refused, if it was; else its warnings.
    pub problems: Vec<Problem>,
    /// Newer generations of last known good that could not be used, and why.
    pub passed_over: Vec<String>,
    pub(crate) good: Good,
}

impl Boot {
    /// Settings made of flags: there is no file to watch, and nothing to keep.
    #[must_use]
    pub fn from_flags(validated: Validated) -> Self {
        let good = Good {
            validated: Arc::new(validated),
            warnings: Vec::new(),
            extras: Extras::default(),
        };
        Self {
            path: None,
            from: From::Flags,
            problems: Vec::new(),
            passed_over: Vec::new(),
            good,
        }
    }

    /// The settings.
    #[must_use]
    pub fn validated(&self) -> &Arc<Validated> {
        &self.good.validated
    }
}

/// Reads the settings file; if it is missing or refused, last known good. `check` adds what the settings cannot tell by
/// themselves (certificates, say); an error of it refuses them too. It is told which extra files have a copy.
///
/// # Errors
/// The problems of the file, when there has never been a good one.
pub fn boot(
    path: &Path,
    default_state_dir: &Path,
    check: &dyn Fn(&Validated, &Copies) -> Vec<Problem>,
) -> Result<Boot, Vec<Problem>> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let problems = match load::load(&path, &BTreeMap::new()) {
        Ok(mut good) => {
            good.warnings.extend(check(&good.validated, &Copies::new()));
            let problems = good.warnings.clone();
            if problems.iter().any(Problem::is_error) {
                problems
            } else {
                return Ok(Boot {
                    path: Some(path),
                    from: From::File,
                    problems,
                    passed_over: Vec::new(),
                    good,
                });
            }
        }
        Err(problems) => problems,
    };
    let mut passed_over = Vec::new();
    for state_dir in state_dirs(&path, default_state_dir) {
        for kept in Store::new(&state_dir).kept(&path) {
            let name = kept.short().to_owned();
            match usable(kept.good, check) {
                Ok(mut good) => {
                    good.warnings.extend(older(&name, &passed_over));
                    return Ok(Boot {
                        path: Some(path),
                        from: From::LastGood,
                        problems,
                        passed_over,
                        good,
                    });
                }
                Err(why) => passed_over.push(format!(
                    "the last good settings {name} cannot be used: {why}"
                )),
            }
        }
    }
    Err(problems)
}

/// A generation that `check` finds nothing wrong with, else what it finds.
fn usable(
    kept: Result<Good, String>,
    check: &dyn Fn(&Validated, &Copies) -> Vec<Problem>,
) -> Result<Good, String> {
    let mut good = kept?;
    let found = check(&good.validated, &good.extras.copies);
    if found.iter().any(Problem::is_error) {
        let errors: Vec<_> = found.into_iter().filter(Problem::is_error).collect();
        return Err(load::sentences(&errors).join("; "));
    }
    good.warnings.extend(found);
    Ok(good)
}

/// That these are not the newest, and why.
fn older(name: &str, passed_over: &[String]) -> Option<Problem> {
    (!passed_over.is_empty()).then(|| Problem {
        severity: Severity::Warning,
        key: String::new(),
        message: format!(
            "these are the last good settings {name}, not the newest: {}",
            passed_over.join("; ")
        ),
        help: Some("mend the settings file; it goes live as soon as it is good".to_owned()),
        at: None,
    })
}

/// Where the state of a node may be whose settings cannot be read: where the broken file seems to say, where the last
/// good one said, the default.
fn state_dirs(path: &Path, default: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let hints = [
        salvage(path),
        recall(path, default),
        Some(default.to_path_buf()),
    ];
    for hint in hints.into_iter().flatten() {
        if !found.contains(&hint) {
            found.push(hint);
        }
    }
    found
}

/// The value of `state_dir:` in a file that may be broken elsewhere.
fn salvage(path: &Path) -> Option<PathBuf> {
    // Opening a pipe would wait for its other end.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line))
        .filter(|line| !line.trim_start().starts_with('#'))
        .find_map(|line| {
            // JSON is YAML too: the key may stand in quotes.
            let after = line
                .split_once("state_dir")?
                .1
                .trim_start_matches(['"', '\''])
                .trim_start();
            Some(after.strip_prefix(':')?.trim())
        })?;
    let value = match line.chars().next()? {
        quote @ ('"' | '\'') => line.get(1..)?.split(quote).next()?,
        _ => line.split([',', '}']).next()?.trim(),
    };
    (!value.is_empty()).then(|| path.parent().unwrap_or(Path::new("/")).join(value))
}

/// Notes kept, for nodes with a state directory of their own.
const NOTES_MAX: usize = 256;

/// The note that says where the state of a settings file is, when it is not in the default place.
fn note(path: &Path, default: &Path) -> PathBuf {
    let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    default.join("state-of").join(name.as_str())
}

fn read_note(note: &Path) -> Option<PathBuf> {
    let state_dir = PathBuf::from(std::fs::read_to_string(note).ok()?.trim_end());
    state_dir.is_absolute().then_some(state_dir)
}

fn recall(path: &Path, default: &Path) -> Option<PathBuf> {
    read_note(&note(path, default))
}

/// Leaves that note. The default place may not be ours to write to: then there is none.
pub(crate) fn remember(path: &Path, state_dir: &Path, default: &Path) {
    if state_dir == default || recall(path, default).as_deref() == Some(state_dir) {
        return;
    }
    if let Err(error) = write_note(&note(path, default), state_dir) {
        tracing::debug!(%error, "no note of the state directory");
    }
}

fn write_note(note: &Path, state_dir: &Path) -> std::io::Result<()> {
    let notes = note.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(notes)?;
    let mut kept = 0;
    for other in std::fs::read_dir(notes)?.flatten() {
        let is_used = read_note(&other.path()).is_some_and(|dir| dir.is_dir());
        if is_used && kept < NOTES_MAX {
            kept += 1;
        } else {
            // Another node may tidy up at the same time.
            let _gone = std::fs::remove_file(other.path());
        }
    }
    std::fs::write(note, format!("{}\n", state_dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_salvaged_from_a_broken_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("aegis.yaml");
        for (text, expected) in [
            (
                "node:\n  state_dir: /var/x # here\nsites: [",
                Some("/var/x"),
            ),
            (
                "node: { workers: 2, state_dir: \"/var/x y\", }",
                Some("/var/x y"),
            ),
            ("node: { state_dir: '/var/x' }", Some("/var/x")),
            ("node: { state_dir: /var/x}", Some("/var/x")),
            (
                "{ \"node\": { \"state_dir\": \"/var/x\" } }",
                Some("/var/x"),
            ),
            ("# state_dir: /no\nnode: {}", None),
            ("state_dir:", None),
            ("state_dir: \"", None),
            ("", None),
        ] {
            std::fs::write(&path, text).expect("writes");
            assert_eq!(salvage(&path), expected.map(PathBuf::from), "{text}");
        }
        std::fs::write(&path, "state_dir: state").expect("writes");
        assert_eq!(salvage(&path), Some(dir.path().join("state")));
    }

    #[test]
    fn a_state_directory_elsewhere_is_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = Path::new("/etc/aegis.yaml");
        assert_eq!(recall(path, dir.path()), None);
        for state in ["a", "b"] {
            let state = dir.path().join(state);
            std::fs::create_dir(&state).expect("makes");
            remember(path, &state, dir.path());
            assert_eq!(recall(path, dir.path()), Some(state));
        }
        std::fs::remove_dir(dir.path().join("b")).expect("removes");
        remember(
            Path::new("/etc/other.yaml"),
            &dir.path().join("a"),
            dir.path(),
        );
        assert_eq!(
            recall(path, dir.path()),
            None,
            "a note of a directory that is gone goes too"
        );
    }
}
