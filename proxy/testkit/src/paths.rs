//! Where the build put things.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Once;
use tempfile::TempDir;

/// The checkout this crate was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// `target/debug` (or `release`) of the running test or tool.
#[must_use]
pub fn bin_dir() -> PathBuf {
    let exe = env::current_exe().expect("the path of this program");
    let dir = exe.parent().expect("a folder").to_path_buf();
    if dir.ends_with("deps") {
        dir.parent().expect("a folder").to_path_buf()
    } else {
        dir
    }
}

/// A program built in the same run: `aegis`, `aegis-demo-origin`, …
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace --exclude bare-pingora",
        path.display()
    );
    path
}

/// `target/modules`, where the Wasm modules are.
#[must_use]
pub fn modules_dir() -> PathBuf {
    bin_dir().join("../modules")
}

/// A folder for what test runs share (compiled modules): `target/aegis-test`.
#[must_use]
pub fn shared_dir() -> PathBuf {
    let dir = bin_dir().join("../aegis-test");
    std::fs::create_dir_all(&dir).expect("a folder in target/");
    dir
}

/// A folder for one run of a program. Short, as paths of sockets are; folders of runs that were killed, or kept
/// in statics, are taken away by the next.
#[must_use]
pub fn run_dir() -> TempDir {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    TempDir::with_prefix(format!("{RUN_DIR}{}-", std::process::id())).expect("a folder")
}

const RUN_DIR: &str = "aegis-run-";

fn sweep() {
    for entry in std::fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(RUN_DIR).and_then(|n| n.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may sweep it at the same time.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}
