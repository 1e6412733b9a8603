//! Last known good: the settings that were in force, with every file they refer to, so that a node starts with all the
//! originals gone.
//!
//! ```text
//! <state_dir>/lkg/index.json              which generation is the newest, which the one before
//! <state_dir>/lkg/<blake3>/manifest.json  original path → blob; the directory is named by this file's hash
//! <state_dir>/lkg/<blake3>/blobs/<blake3>
//! ```
//! A generation is written aside, synced and renamed, so it is whole or not there; each is checked against its hashes
//! before it is used. Two are kept. Everything is 0600 in 0700, because private keys are among the files.
//!
//! What the data plane needs besides (the WAF's module) is kept with them, so that a generation starts with the very
//! module it was good with.
//!
//! Bounds: those of the settings ([`FILE_BYTES_MAX`], [`REFERENCED_BYTES_MAX`]), and the latter once more for each of the
//! data plane's files.

mod disk;
mod manifest;

use crate::error::ControlError;
use crate::load::{self, Extras, Good};
use crate::plane::Copies;
use aegis_settings::limits::{FILE_BYTES_MAX, REFERENCED_BYTES_MAX};
use manifest::{File, Index, Manifest};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Generations kept.
pub const GENERATIONS: usize = 2;
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// A generation.
pub(crate) struct Kept {
    /// Its directory.
    pub(crate) name: String,
    pub(crate) good: Result<Good, String>,
}

impl Kept {
    /// As people see it.
    pub(crate) fn short(&self) -> &str {
        self.name.get(..8).unwrap_or(&self.name)
    }
}

/// The generations of one node.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store under a state directory; nothing is touched yet.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("lkg"),
        }
    }

    /// Keeps settings that went live. `Ok(false)` = they are the newest generation already.
    pub(crate) fn save(&self, source: &Path, good: &Good) -> Result<bool, ControlError> {
        let (manifest, blobs) = gather(source, good)?;
        let text = manifest.to_bytes();
        let name = blake3::hash(&text).to_hex().to_string();
        let index = self.index();
        if index.generations.first() == Some(&name) && self.open(&name).is_ok() {
            return Ok(false);
        }
        disk::private_dir(&self.dir)?;
        if self.open(&name).is_err() {
            self.write_generation(&name, &text, &blobs)?;
        }
        // What was copied must be what was loaded: a file may have changed in between.
        let copied = self.read(&name)?;
        if copied.key() != good.key() {
            let what = "a file changed while it was copied; the next change is kept".to_owned();
            disk::remove_dir(&self.dir.join(&name));
            return Err(ControlError::Damaged {
                path: self.dir.join(name),
                what,
            });
        }
        let mut generations = vec![name.clone()];
        generations.extend(index.generations.into_iter().filter(|other| *other != name));
        generations.truncate(GENERATIONS);
        let index = Index { generations };
        disk::replace(&self.dir.join("index.json"), &index.to_bytes())?;
        self.prune(&index);
        Ok(true)
    }

    /// Every generation, newest first: those of this settings file that are whole and pass the checks, of the others why
    /// they cannot be used.
    pub(crate) fn kept(&self, source: &Path) -> Vec<Kept> {
        let of = |name: &str| -> Result<Good, String> {
            let manifest = self.open(name).map_err(|error| error.to_string())?;
            if manifest.source != source {
                let of = manifest.source.display();
                return Err(format!("they belong to another file, {of}"));
            }
            self.read(name).map_err(|error| error.to_string())
        };
        let names = self.index().generations.into_iter();
        names
            .map(|name| {
                let good = of(&name);
                Kept { name, good }
            })
            .collect()
    }

    /// Every generation of this settings file that can be used, newest first.
    pub(crate) fn generations(&self, source: &Path) -> Vec<Good> {
        let kept = self.kept(source).into_iter();
        kept.filter_map(|Kept { name, good }| {
            good.inspect_err(|why| {
                tracing::error!(
                    generation = name,
                    "last good settings cannot be used: {why}"
                );
            })
            .ok()
        })
        .collect()
    }

    fn index(&self) -> Index {
        disk::read(&self.dir.join("index.json"), MANIFEST_BYTES_MAX)
            .ok()
            .and_then(|bytes| Index::from_bytes(&bytes))
            .unwrap_or_else(|| Index {
                generations: self.by_age(),
            })
    }

    /// The generations on disk, newest first: what is left when the index is gone.
    fn by_age(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut found: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let modified = entry.metadata().ok()?.modified().ok()?;
                manifest::is_hash(&name).then_some((modified, name))
            })
            .collect();
        found.sort();
        found
            .into_iter()
            .rev()
            .take(GENERATIONS)
            .map(|(_, name)| name)
            .collect()
    }

    /// Reads a manifest and checks every blob.
    fn open(&self, name: &str) -> Result<Manifest, ControlError> {
        let dir = self.dir.join(name);
        let damaged = |what: String| ControlError::Damaged {
            path: dir.clone(),
            what,
        };
        if !manifest::is_hash(name) {
            return Err(damaged("its name is no hash".to_owned()));
        }
        let text = disk::read(&dir.join("manifest.json"), MANIFEST_BYTES_MAX)?;
        if blake3::hash(&text).to_hex().as_str() != name {
            return Err(damaged(
                "the manifest does not have the hash it is named by".to_owned(),
            ));
        }
        let manifest = Manifest::from_bytes(&text)
            .ok_or_else(|| damaged("the manifest cannot be read".to_owned()))?;
        for file in &manifest.files {
            let bytes = disk::read(&dir.join("blobs").join(&file.blob), REFERENCED_BYTES_MAX)?;
            if blake3::hash(&bytes).to_hex().as_str() != file.blob {
                return Err(damaged(format!(
                    "the copy of {} has changed",
                    file.path.display()
                )));
            }
        }
        Ok(manifest)
    }

    /// Loads the settings of a generation from its blobs.
    fn read(&self, name: &str) -> Result<Good, ControlError> {
        let manifest = self.open(name)?;
        let blobs = self.dir.join(name).join("blobs");
        let (extras, files): (Vec<_>, Vec<_>) =
            manifest.files.into_iter().partition(|file| file.extra);
        let moved = |files: Vec<File>| -> Copies {
            let pairs = files.into_iter();
            pairs
                .map(|file| (file.path, blobs.join(file.blob)))
                .collect()
        };
        let mut good = load::load(&manifest.source, &moved(files)).map_err(|problems| {
            ControlError::Damaged {
                path: self.dir.join(name),
                what: load::sentences(&problems).join("; "),
            }
        })?;
        let order = extras.iter().map(|file| file.path.clone()).collect();
        good.extras = Extras::read(order, moved(extras));
        Ok(good)
    }

    fn write_generation(
        &self,
        name: &str,
        manifest: &[u8],
        blobs: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), ControlError> {
        let aside = self.dir.join(format!(".{name}.new"));
        disk::remove_dir(&aside);
        disk::private_dir(&aside.join("blobs"))?;
        for (hash, bytes) in blobs {
            disk::write_synced(&aside.join("blobs").join(hash), bytes)?;
        }
        disk::write_synced(&aside.join("manifest.json"), manifest)?;
        disk::sync_dir(&aside.join("blobs"))?;
        disk::sync_dir(&aside)?;
        let place = self.dir.join(name);
        disk::remove_dir(&place);
        fs::rename(&aside, &place).map_err(ControlError::store("rename to", &place))?;
        disk::sync_dir(&self.dir)
    }

    /// Removes what the index does not name.
    fn prune(&self, index: &Index) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let ours = manifest::is_hash(name) || name.ends_with(".new");
            if ours && !index.generations.iter().any(|kept| kept == name) {
                disk::remove_dir(&entry.path());
            }
        }
    }
}

/// Reads the settings file, all it refers to, and what the data plane needs besides.
fn gather(
    source: &Path,
    good: &Good,
) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), ControlError> {
    let mut files = Vec::new();
    let mut blobs = BTreeMap::new();
    let mut left = REFERENCED_BYTES_MAX;
    let mut keep = |path: &Path, bytes: Vec<u8>, extra| {
        let blob = blake3::hash(&bytes).to_hex().to_string();
        files.push(File {
            path: path.to_path_buf(),
            blob: blob.clone(),
            extra,
        });
        blobs.insert(blob, bytes);
    };
    keep(source, disk::read(source, FILE_BYTES_MAX)?, false);
    let others = good.validated.files.iter().filter(|path| *path != source);
    for path in others {
        let bytes = disk::read(path, left)?;
        left = left.saturating_sub(bytes.len() as u64);
        keep(path, bytes, false);
    }
    for path in &good.extras.files {
        keep(path, disk::read(path, REFERENCED_BYTES_MAX)?, true);
    }
    Ok((Manifest::new(source.to_path_buf(), files), blobs))
}

#[cfg(test)]
mod tests;
