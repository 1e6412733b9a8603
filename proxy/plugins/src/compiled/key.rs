//! The secret of this node, which says whose machine code a file holds.

use crate::trusted::NodeKey;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The end of the name of a file that is being written.
const NEW: &str = "new";
/// A file that was not written to for so long has lost its writer. They are written in one go.
const NEW_AGE_MAX: Duration = Duration::from_secs(600);

/// Sees to it that the folder belongs to `us` (a user's id) alone.
pub(super) fn make_private(dir: &Path, us: u32) -> io::Result<()> {
    let about = fs::metadata(dir)?;
    if about.uid() != us {
        return Err(io::Error::other(format!(
            "the folder belongs to user {}, and Aegis runs as user {us}: whoever owns it can put machine code there; \
             give it to user {us} (chown), or name another `node.state_dir`",
            about.uid()
        )));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %dir.display(), mode = %format!("{mode:04o}"), "folder of compiled modules is open to others: its mode is 0700 from now on");
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "others may use the folder, and that cannot be changed (chmod 0700): {error}"
                ),
            )
        })?;
    }
    Ok(())
}

/// Opens a file for reading, and no link to one. A pipe or a device does not make us wait; callers look at what it is.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags).open(path)
}

/// Removes what a process that died left half written: up to 90 MiB each.
pub(super) fn remove_abandoned(dir: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(dir)?.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != NEW) {
            continue;
        }
        let written = entry.metadata().and_then(|about| about.modified());
        let age = written.ok().and_then(|at| now.duration_since(at).ok());
        if age.is_some_and(|age| age > NEW_AGE_MAX) {
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed a compiled module whose writing was never finished");
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an unfinished compiled module cannot be removed");
                }
            }
        }
    }
    Ok(())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut rest = bytes.as_mut_slice();
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = rest.get_mut(got..).unwrap_or_default();
    }
    Ok(bytes)
}

/// Writes a private file beside `path`, under a name nobody else uses: another process may share the folder, from another
/// container with the same id.
pub(super) fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<PathBuf> {
    let random = u64::from_le_bytes(random()?);
    let new = path.with_extension(format!("{random:016x}.{NEW}"));
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
    let key = random()?;
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
    let ours = meta.is_file()
        && meta.mode() & 0o077 == 0
        && meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.len() == 32 && file.read_exact(&mut key).is_ok() {
        return Ok(Some(NodeKey(key)));
    }
    tracing::warn!(path = %path.display(), "key of compiled modules is not private to us or damaged: making a new one");
    fs::remove_file(path)?;
    Ok(None)
}
