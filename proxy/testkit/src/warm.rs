//! Machine code of modules, kept between test runs: compiling the WAF's takes many seconds, and a fresh state folder
//! has none.
//!
//! What is kept is what the binary itself wrote, with the node's key that vouches for it; it checks both as always.

use crate::paths::shared_dir;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the binary keeps it below `state_dir`.
const FOLDER: &str = "modules";
const KEY: &str = "node.key";
/// Small modules compile faster than they are copied.
const WORTH_KEEPING: u64 = 1 << 20;
/// Rules of a test's own make a snapshot of the WAF, which takes tens of MiB.
const FILES_MAX: usize = 24;

fn kept() -> PathBuf {
    shared_dir().join("compiled")
}

/// Lays what earlier runs compiled into a state folder that has nothing yet.
pub(crate) fn lay(state: &Path) {
    let (from, to) = (kept(), state.join(FOLDER));
    if from.exists() && !to.exists() {
        copy_dir(&from, &to);
    }
}

/// Keeps what this run compiled for later ones.
pub(crate) fn keep(state: &Path) {
    let (from, to) = (state.join(FOLDER), kept());
    let worth = |path: &Path| fs::metadata(path).is_ok_and(|m| m.len() > WORTH_KEEPING);
    let files = list(&from).into_iter().filter(|f| worth(f));
    let new: Vec<PathBuf> = files
        .filter(|f| f.file_name().is_some_and(|n| !to.join(n).exists()))
        .collect();
    if new.is_empty() || list(&to).len() > FILES_MAX {
        return;
    }
    if to.exists() {
        // Another key would vouch for nothing here.
        if fs::read(from.join(KEY)).ok() == fs::read(to.join(KEY)).ok() {
            new.iter().for_each(|file| copy_into(file, &to));
        }
        return;
    }
    let aside = shared_dir().join(format!(
        "compiled-{}-{}",
        std::process::id(),
        fastrand::u32(..)
    ));
    copy_dir(&from, &aside);
    if fs::rename(&aside, &to).is_err() {
        // Another run was first.
        drop(fs::remove_dir_all(&aside));
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_file()).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    made.unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    list(from).iter().for_each(|file| copy_into(file, to));
}

/// In one step, so that nobody finds half of it. The binary writes to no file under its final name, so that one may have
/// several.
fn copy_into(file: &Path, dir: &Path) {
    let name = file.file_name().unwrap_or_default();
    // The key is small, and somebody may want to try another one.
    if name != KEY && fs::hard_link(file, dir.join(name)).is_ok() {
        return;
    }
    let aside = dir.join(format!("{}.{}", name.to_string_lossy(), fastrand::u32(..)));
    fs::copy(file, &aside).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    fs::rename(&aside, dir.join(name)).unwrap_or_else(|e| panic!("{}: {e}", aside.display()));
}
