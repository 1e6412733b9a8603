//! The two small files of the store.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const FORMAT: u32 = 1;

/// Which file is which blob.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The settings file.
    pub(super) source: PathBuf,
    /// It and all it refers to.
    pub(super) files: Vec<File>,
}

/// One file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct File {
    /// Where it was.
    pub(super) path: PathBuf,
    /// Its hash and its name here.
    pub(super) blob: String,
    /// The settings do not name it; the data plane needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) extra: bool,
}

impl Manifest {
    pub(super) fn new(source: PathBuf, files: Vec<File>) -> Self {
        Self {
            format: FORMAT,
            source,
            files,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Paths that are no UTF-8 cannot be written as JSON; the settings are UTF-8, so there are none.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        let sound =
            manifest.format == FORMAT && manifest.files.iter().all(|file| is_hash(&file.blob));
        sound.then_some(manifest)
    }
}

/// The generations, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) generations: Vec<String>,
}

impl Index {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let index: Self = serde_json::from_slice(bytes).ok()?;
        index
            .generations
            .iter()
            .all(|name| is_hash(name))
            .then_some(index)
    }
}

/// Whether a name is a blake3 hash: what is none never becomes part of a path.
pub(super) fn is_hash(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
