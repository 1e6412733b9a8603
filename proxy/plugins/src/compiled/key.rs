//! The secret of this node, which says whose machine code a file holds.

use crate::trusted::NodeKey;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Opens a file for reading, and no link to one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(no_follow).open(path)
}

/// Writes a private file beside `path`, under a name nobody else uses: another process may share the folder.
pub(super) fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{count}.new", std::process::id()));
    // Left by a process of the same id that died.
    drop(fs::remove_file(&new));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let written = parts
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // A full disk is not helped by half a file.
        drop(fs::remove_file(&new));
        return Err(error);
    }
    Ok(new)
}

/// The key of this node; one that others could have read is replaced.
pub(super) fn node_key(path: &Path) -> io::Result<NodeKey> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    let mut rest = key.as_mut_slice();
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = rest.get_mut(got..).unwrap_or_default();
    }
    let new = write_new(path, &[&key])?;
    // Whoever links first has made the key; a second one takes that.
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    match linked {
        Ok(()) => Ok(NodeKey(key)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read_key(path)?.ok_or_else(|| io::Error::other("the key of compiled modules vanished"))
        }
        Err(error) => Err(error),
    }
}

fn read_key(path: &Path) -> io::Result<Option<NodeKey>> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let mut key = [0; 32];
    let ours = meta.mode() & 0o077 == 0 && meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.len() == 32 && file.read_exact(&mut key).is_ok() {
        return Ok(Some(NodeKey(key)));
    }
    tracing::warn!(path = %path.display(), "key of compiled modules is not private to us or damaged: making a new one");
    fs::remove_file(path)?;
    Ok(None)
}
