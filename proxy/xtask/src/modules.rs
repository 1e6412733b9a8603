//! The Wasm modules.

use crate::{steps, workspace};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Builds the WAF's module into `out_dir`.
pub(crate) fn build(out_dir: &Path) -> Result<()> {
    std::fs::create_dir_all(out_dir)?;
    let mut go = Command::new("go");
    go.current_dir(workspace::root().join("wasm-modules/coraza"))
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-ldflags=-s -w",
            "-tags",
            "tinygo,no_fs_access",
            "-o",
        ])
        .arg(out_dir.join("coraza.wasm"))
        .arg(".");
    steps::run(&mut go)
}
