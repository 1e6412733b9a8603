//! `make build`: the release in the layout it is installed in.

use crate::needs::Target;
use crate::steps;
use crate::workspace::{cargo, root, target_dir};
use crate::{modules, setup};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Line tables are most of the program's size, and of use only to who reads a profile or a core: they go into a file of their
/// own, which debuggers find by its name in the program. Backtraces keep the names of functions.
fn split(built: &Path, program: &Path, share: &Path) -> Result<()> {
    let debug = share.join("aegis.debug");
    steps::run(
        Command::new("objcopy")
            .arg("--only-keep-debug")
            .args([built, &debug]),
    )?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    steps::run(
        Command::new("objcopy")
            .args(["--strip-debug", &link])
            .args([built, program]),
    )
}

/// Builds `dist/bin/aegis`, `dist/lib/aegis/modules/*.wasm` and `dist/share/aegis/`.
pub(crate) fn build() -> Result<()> {
    setup::run(Target::Demo)?;
    steps::run(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "aegis",
        "--bin",
        "aegis",
    ]))?;
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).context("the old dist/ cannot be taken away")?;
    }
    let (bin, share) = (dist.join("bin"), dist.join("share/aegis"));
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&share)?;
    split(
        &target_dir().join("release/aegis"),
        &bin.join("aegis"),
        &share,
    )?;
    modules::build(&dist.join("lib/aegis/modules"))?;
    for (from, name) in [
        ("config/aegis.yaml", "aegis.yaml"),
        ("config/schema/aegis.schema.json", "aegis.schema.json"),
        ("LICENSE", "LICENSE"),
        ("NOTICE", "NOTICE"),
    ] {
        let path = root().join(from);
        fs::copy(&path, share.join(name))
            .with_context(|| format!("{} is missing", path.display()))?;
    }
    println!(
        "dist/bin/aegis, dist/lib/aegis/modules, dist/share/aegis (with aegis.debug, for debuggers)"
    );
    Ok(())
}
