//! `make build`: the release in the layout it is installed in.

use crate::needs::Target;
use crate::steps;
use crate::workspace::{cargo, root, target_dir};
use crate::{modules, setup};
use anyhow::{Context, Result};
use std::fs;

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
    fs::copy(target_dir().join("release/aegis"), bin.join("aegis"))?;
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
    println!("dist/bin/aegis, dist/lib/aegis/modules, dist/share/aegis");
    Ok(())
}
