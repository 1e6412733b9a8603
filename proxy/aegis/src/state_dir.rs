//! The state directory, which belongs to one process at a time: two would overwrite each other's bans, events and last known
//! good, and the second would take the admin socket from the first.

use anyhow::Context;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Held while the process lives; a crash gives it back too.
#[derive(Debug)]
pub(crate) struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    /// It cannot be made or written to, or another process has it.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        let other = "choose another one with node.state_dir or --state-dir";
        let cannot = || {
            format!(
                "cannot make the state directory {}; {other}",
                path.display()
            )
        };
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(cannot)?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the sentence; a few bytes are all there is.
                let read = lock.take(20).read_to_string(&mut pid);
                let pid = pid.trim();
                let who = if read.is_ok() && !pid.is_empty() {
                    format!(" (process {pid})")
                } else {
                    String::new()
                };
                anyhow::bail!(
                    "another aegis{who} uses the state directory {}; stop it, or {other}",
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(cannot)?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_belongs_to_one_at_a_time_and_the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/state");
        let first = StateDir::take(&path).expect("free");
        let refused = StateDir::take(&path).expect_err("taken").to_string();
        let pid = format!("(process {})", std::process::id());
        assert!(
            refused.contains(&pid) && refused.contains("--state-dir"),
            "{refused}"
        );
        drop(first);
        StateDir::take(&path).expect("free again");
    }
}
