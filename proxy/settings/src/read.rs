//! From a path or a text to settings that passed every check, or to everything that is wrong with them.

use crate::context::{Checker, Context};
use crate::kind::Section;
use crate::limits::FILE_BYTES_MAX;
use crate::model::Settings;
use crate::node::{Node, Place, Value};
use crate::problem::Problem;
use crate::resolved::Validated;
use crate::scalar::show_size;
use crate::{checks, files, resolve, yaml};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What came of reading settings.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings, if no problem is an error.
    pub result: Result<Validated, ()>,
    /// Errors and warnings in order of the file.
    pub problems: Vec<Problem>,
}

/// Reads and checks a file and everything it refers to.
#[must_use]
pub fn load(path: &Path) -> Loaded {
    load_moved(path, &BTreeMap::new())
}

/// As [`load`], but a file that is a key of `moved` is read from the path beside it; the settings then name that one.
///
/// Keys are `path` itself and absolute paths as in [`Validated::files`]. This is how copies of good settings are read
/// when the originals are gone.
#[must_use]
pub fn load_moved(path: &Path, moved: &BTreeMap<PathBuf, PathBuf>) -> Loaded {
    let name = path.display().to_string();
    let parent = path.parent().unwrap_or(Path::new(""));
    // The current folder may be gone; then relative paths are left as they are, and fail with their name.
    let base =
        std::path::absolute(Path::new(".").join(parent)).unwrap_or_else(|_| parent.to_owned());
    let from = moved.get(path).map_or(path, PathBuf::as_path);
    match read_text(from) {
        Ok(text) => parse_moved(&text, &name, &base, moved),
        Err(problem) => {
            let mut context = Context::new(&name, &base, moved);
            context.error_at(
                problem.place,
                "",
                format!("{name} {}", problem.what),
                Some(problem.help),
            );
            Loaded {
                result: Err(()),
                problems: context.finish(),
            }
        }
    }
}

/// Checks a text as if it were a file called `file_name` in `base_dir`.
#[must_use]
pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Loaded {
    let base = std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned());
    parse_moved(text, file_name, &base, &BTreeMap::new())
}

fn parse_moved(text: &str, name: &str, base: &Path, moved: &BTreeMap<PathBuf, PathBuf>) -> Loaded {
    let mut context = Context::new(name, base, moved);
    let result = check(text, &mut context).ok_or(());
    let result = if context.has_errors() {
        Err(())
    } else {
        result
    };
    Loaded {
        result,
        problems: context.finish(),
    }
}

fn check(text: &str, context: &mut Context<'_>) -> Option<Validated> {
    if let Err(problem) = is_text(text.as_bytes()) {
        context.error_at(
            problem.place,
            "",
            format!("the file {}", problem.what),
            Some(problem.help),
        );
        return None;
    }
    let root = yaml::read(text, context)?;
    if matches!(root.value, Value::Null) {
        let message = "the file is empty".to_owned();
        let help = "the smallest one is:\nversion: 1\nlisteners: [{ address: \"[::]:8080\" }]\n\
                    sites: [{ hosts: [\"*\"], origin: \"http://127.0.0.1:3000\" }]";
        context.error_at(Place::default(), "", message, Some(help.to_owned()));
        return None;
    }
    let Value::Map(_) = root.value else {
        let message = format!(
            "expected keys such as `version:`, found {}",
            root.describe()
        );
        context.error_at(
            root.place,
            "",
            message,
            Some("write `key: value`, one a line".to_owned()),
        );
        return None;
    };
    Some(validate(&root, text, context))
}

fn validate(root: &Node, text: &str, context: &mut Context<'_>) -> Validated {
    let mut settings = Settings::parse(root, "", context);
    fill(&mut settings, root);
    let sites = resolve::sites(&settings, context, &|key| root.place_of(key).line);
    let pools = resolve::pools(&settings);
    let mut checker = Checker { root, context };
    checks::run(&settings, &sites, &mut checker);
    let (files, id) = files::read(&settings, text, &mut checker);
    Validated {
        settings,
        sites,
        pools,
        id,
        files,
    }
}

/// Works out what depends on the machine or on another key.
fn fill(settings: &mut Settings, root: &Node) {
    let node = &mut settings.node;
    let written = |key: &str| {
        root.get("node")
            .is_some_and(|entry| entry.node.get(key).is_some())
    };
    if node.state_dir.as_os_str().is_empty() && !written("state_dir") {
        node.state_dir = default_state_dir();
    }
    if node.admin.socket.as_os_str().is_empty() {
        node.admin.socket = node.state_dir.join("admin.sock");
    }
}

/// `/var/lib/aegis` for root, else a folder in the user's home.
fn default_state_dir() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if !rustix::process::geteuid().is_root() {
        if let Some(state) = folder("XDG_STATE_HOME") {
            return state.join("aegis");
        }
        if let Some(home) = folder("HOME") {
            return home.join(".local/state/aegis");
        }
    }
    PathBuf::from("/var/lib/aegis")
}

/// Why there is no text.
struct NoText {
    what: String,
    help: String,
    place: Place,
}

impl NoText {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
            place: Place::default(),
        }
    }
}

fn read_text(path: &Path) -> Result<String, NoText> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => NoText::new(
            "does not exist",
            "name another one with -c, or start without a file: aegis run --origin URL",
        ),
        io::ErrorKind::PermissionDenied => NoText::new(
            "may not be read",
            "give the user that runs aegis the right to read it",
        ),
        _ => NoText::new(
            format!("cannot be read: {error}"),
            "look at the file system",
        ),
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(NoText::new("is a directory", "name the file in it"));
    }
    if !metadata.is_file() {
        return Err(NoText::new(
            "is not a regular file",
            "settings are read again and again; write them to a file",
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let size = fs::metadata(path).map_or(FILE_BYTES_MAX + 1, |metadata| metadata.len());
        let what = format!(
            "has {size} bytes; {} ({FILE_BYTES_MAX} bytes) is the most",
            show_size(FILE_BYTES_MAX)
        );
        return Err(NoText::new(
            what,
            "share values by profiles, or split the sites over several nodes",
        ));
    }
    is_text(&bytes)?;
    String::from_utf8(bytes).map_err(|_| NoText::new("is not UTF-8 text", "save it as UTF-8"))
}

/// Refuses what no editor wrote: bytes that are not UTF-8, and control characters.
fn is_text(bytes: &[u8]) -> Result<(), NoText> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let what = format!(
            "has {} bytes; {} ({FILE_BYTES_MAX} bytes) is the most",
            bytes.len(),
            show_size(FILE_BYTES_MAX)
        );
        return Err(NoText::new(
            what,
            "share values by profiles, or split the sites over several nodes",
        ));
    }
    let (text, broken) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (
                std::str::from_utf8(good).unwrap_or_default(),
                Some(error.valid_up_to()),
            )
        }
    };
    let control = text
        .char_indices()
        .find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}'));
    let Some(at) = control.map(|(at, _)| at).or(broken) else {
        return Ok(());
    };
    let before = text.get(..at).unwrap_or_default();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let place = Place {
        line: number(before.matches('\n').count()).saturating_add(1),
        column: number(before.chars().rev().take_while(|c| *c != '\n').count()).saturating_add(1),
    };
    let byte = bytes.get(at).copied().unwrap_or_default();
    let what = format!("is not text: byte {at} is {byte:#04x}");
    Err(NoText {
        what,
        help: "settings are YAML in UTF-8; is this another file?".to_owned(),
        place,
    })
}
