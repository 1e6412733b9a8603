//! `make test` and `make lint`.

use crate::needs::Target;
use crate::steps::{self, Steps};
use crate::workspace::{cargo, modules_dir};
use crate::{demo, ftw, modules, setup};
use anyhow::Result;

/// Everything but the bench's peer, which only `bench-proxy` builds.
pub(crate) const ALL: [&str; 3] = ["--workspace", "--exclude", "bare-pingora"];

/// All steps in order; stops at the first that fails, and prints the table of times in any case.
pub(crate) fn test() -> Result<()> {
    let mut steps = Steps::default();
    let result = all(&mut steps);
    steps.print();
    if result.is_ok() {
        println!("\nall steps held");
    }
    result
}

fn all(steps: &mut Steps) -> Result<()> {
    steps.step("setup", || setup::run(Target::Test))?;
    steps.step("format", format)?;
    steps.step("lint", clippy)?;
    steps.step("build", || {
        steps::run(&mut cargo(&[&["build"], &ALL[..]].concat()))?;
        steps::run(&mut cargo(&[&["test", "--no-run"], &ALL[..]].concat()))
    })?;
    steps.step("modules", || {
        modules::build(&modules_dir())?;
        modules::build_examples(&modules_dir())?;
        modules::build_cases(&modules_dir())?;
        modules::test()
    })?;
    // One selection of packages throughout: another would resolve other features and build dependencies anew.
    steps.step("unit tests", || {
        steps::run(&mut cargo(
            &[&["test", "--lib", "--bins"], &ALL[..]].concat(),
        ))
    })?;
    steps.step("e2e", || {
        steps::run(&mut cargo(
            &[&["test", "--test", "*", "--no-fail-fast"], &ALL[..]].concat(),
        ))
    })?;
    steps.step("crs suite", ftw::over_http)?;
    steps.step("tour", || demo::run(&demo::Options { once: true }))
}

/// rustfmt and clippy; both say all they find.
pub(crate) fn lint() -> Result<()> {
    setup::run(Target::Test)?;
    let formatted = format();
    clippy().and(formatted)
}

fn format() -> Result<()> {
    steps::run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    steps::run(&mut cargo(
        &[
            // A crate that fails keeps nobody from hearing of the others.
            &["clippy", "--all-targets", "--keep-going"],
            &ALL[..],
            &["--", "-D", "warnings"],
        ]
        .concat(),
    ))
}
