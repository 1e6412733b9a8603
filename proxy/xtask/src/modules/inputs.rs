//! What a module is made from, as one digest.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// All files below some paths, and words (compiler, flags) that matter as much.
pub(super) struct Inputs(String);

impl Inputs {
    pub(super) fn of(paths: &[&Path], words: &[&str]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            collect(path, &mut files)?;
        }
        files.sort();
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&bytes.len().to_le_bytes());
            hasher.update(bytes);
        };
        words.iter().for_each(|word| add(word.as_bytes()));
        for file in &files {
            add(file.as_os_str().as_encoded_bytes());
            add(&fs::read(file).with_context(|| file.display().to_string())?);
        }
        Ok(Self(hasher.finalize().to_hex().to_string()))
    }

    pub(super) fn digest(&self) -> &str {
        &self.0
    }
}

/// The blake3 of a file, in hex.
pub(super) fn digest(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        // Tests are no part of a module.
        if !path.to_string_lossy().ends_with("_test.go") {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let path = entry?.path();
        // A Go module inside another is no part of it.
        if !path.join("go.mod").exists() {
            collect(&path, files)?;
        }
    }
    Ok(())
}
