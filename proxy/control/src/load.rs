//! The one place that calls the settings' loader.

use aegis_settings::Problem;
use aegis_settings::resolved::Validated;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checked settings, and what was said about them that is no error.
#[derive(Debug, Clone)]
pub(crate) struct Good {
    pub(crate) validated: Arc<Validated>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads and checks a settings file; `moved` says which files are to be read somewhere else.
pub(crate) fn load(path: &Path, moved: &BTreeMap<PathBuf, PathBuf>) -> Result<Good, Vec<Problem>> {
    let loaded = aegis_settings::load_moved(path, moved);
    match loaded.result {
        Ok(validated) => Ok(Good {
            validated: Arc::new(validated),
            warnings: loaded.problems,
        }),
        Err(()) => Err(loaded.problems),
    }
}

/// The problems as sentences with their places.
pub(crate) fn sentences(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
