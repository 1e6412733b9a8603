//! Where things are in this checkout and its build.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The checkout.
pub(crate) fn root() -> PathBuf {
    aegis_testkit::paths::checkout()
}

/// Cargo's target folder.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where a binary in `target/` looks for its modules.
pub(crate) fn modules_dir() -> PathBuf {
    target_dir().join("modules")
}

/// `cargo` with these arguments, in the checkout.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}
