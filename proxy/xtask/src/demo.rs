//! `make demo`: the demo shop, Aegis before it, and a tour of what that changes.

mod attacks;
mod edits;
mod say;
mod scene;
mod tour;

use crate::needs::Target;
use crate::workspace::{cargo, modules_dir};
use crate::{modules, setup, steps};
use anyhow::{Result, bail};
use clap::Args;
use scene::Scene;

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// End after the tour: 0 when every step held
    #[arg(long)]
    pub(crate) once: bool,
}

/// Builds, starts, shows; stays up unless told otherwise.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(Target::Demo)?;
    // The same selection of packages as the tests, so that nothing is built twice.
    steps::run(&mut cargo(&[
        "build",
        "--workspace",
        "--exclude",
        "bare-pingora",
        "--bins",
    ]))?;
    modules::build(&modules_dir())?;
    let mut scene = Scene::start()?;
    let walked = tour::walk(&mut scene);
    if !matches!(walked, Ok(0)) {
        scene.tell();
    }
    let failed = walked?;
    if failed > 0 && options.once {
        bail!("{failed} steps of the tour did not hold");
    }
    if !options.once {
        scene.stay()?;
    }
    Ok(())
}
