//! Files that are whole or not there, readable by their owner only.

use crate::error::ControlError;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Reads at most `max` bytes; one more is an error.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, ControlError> {
    let inner = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::other(format!("larger than {max} bytes")));
        }
        Ok(bytes)
    };
    inner().map_err(ControlError::store("read", path))
}

/// Makes a directory and its parents, 0700.
pub(super) fn private_dir(path: &Path) -> Result<(), ControlError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(ControlError::store("make directory", path))
}

/// Writes a new file, 0600, and waits until the disk has it.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ControlError> {
    let inner = || {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    inner().map_err(ControlError::store("write", path))
}

/// Replaces a file in one step.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ControlError> {
    let aside = path.with_extension("new");
    write_synced(&aside, bytes)?;
    fs::rename(&aside, path).map_err(ControlError::store("rename to", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Waits until the disk has the names of a directory.
pub(super) fn sync_dir(path: &Path) -> Result<(), ControlError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(ControlError::store("sync", path))
}

/// Removes a directory of ours, if it is there.
pub(super) fn remove_dir(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot be removed");
        }
        _ => {}
    }
}
