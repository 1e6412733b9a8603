//! The one place that calls the settings' loader, and what settings are made of besides their own files.

use crate::plane::Copies;
use aegis_settings::Problem;
use aegis_settings::limits::REFERENCED_BYTES_MAX;
use aegis_settings::resolved::Validated;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checked settings, and what was said about them that is no error.
#[derive(Debug, Clone)]
pub(crate) struct Good {
    pub(crate) validated: Arc<Validated>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) extras: Extras,
}

impl Good {
    /// What makes two of them the same: the settings with their files, and the files of the data plane.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.validated.id, &self.extras.hash)
    }
}

/// Files the data plane uses though the settings do not name them: the WAF's module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub(crate) files: Vec<PathBuf>,
    /// Of their paths and contents; empty if there are none.
    hash: String,
    /// Where the copies of last known good are.
    pub(crate) copies: Copies,
}

impl Extras {
    /// Reads them, each from its copy if it has one. One that cannot be read is as good as none.
    pub(crate) fn read(files: Vec<PathBuf>, copies: Copies) -> Self {
        let mut hasher = blake3::Hasher::new();
        for file in &files {
            hasher.update(file.as_os_str().as_encoded_bytes());
            let mut content = blake3::Hasher::new();
            let place = copies.get(file).unwrap_or(file);
            let read = File::open(place).and_then(|open| {
                content.update_reader(open.take(REFERENCED_BYTES_MAX.saturating_add(1)))?;
                Ok(())
            });
            hasher.update(&[u8::from(read.is_ok())]);
            hasher.update(content.finalize().as_bytes());
        }
        let hash = if files.is_empty() {
            String::new()
        } else {
            hasher.finalize().to_hex().to_string()
        };
        Self {
            files,
            hash,
            copies,
        }
    }
}

/// Reads and checks a settings file; `moved` says which files are to be read somewhere else.
pub(crate) fn load(path: &Path, moved: &BTreeMap<PathBuf, PathBuf>) -> Result<Good, Vec<Problem>> {
    let loaded = aegis_settings::load_moved(path, moved);
    match loaded.result {
        Ok(validated) => Ok(Good {
            validated: Arc::new(validated),
            warnings: loaded.problems,
            extras: Extras::default(),
        }),
        Err(()) => Err(loaded.problems),
    }
}

/// The problems as sentences with their places.
pub(crate) fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
