//! `make ftw`: the Core Rule Set's own regression suite, through a running `aegis` and through the module alone.

use crate::needs::Target;
use crate::workspace::{cargo, modules_dir, root, target_dir};
use crate::{modules, setup, steps, verify};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::process::{Command, Stdio};

/// Which tests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// Only tests of the suite whose id matches, such as `^942100-`, and show which rules they match
    #[arg(long, value_name = "EXPRESSION")]
    only: Option<String>,
}

/// Of the tests that are sent twice, once with a site's settings as data and once with the same compiled, each n-th.
const POLICIES_EVERY: &str = "8";

/// Builds, and runs all of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(Target::Test)?;
    steps::run(&mut cargo(&[
        "build",
        "--package",
        "aegis",
        "--bin",
        "aegis",
    ]))?;
    modules::build(&modules_dir())?;
    if let Some(only) = &options.only {
        return suite(&["-only", only]);
    }
    modules::build_cases(&modules_dir())?;
    let over_http = over_http();
    let differential = differential();
    over_http.and(differential)
}

/// What goes through a running `aegis`: the suite, policies as data against policies compiled, ways around a WAF.
pub(crate) fn over_http() -> Result<()> {
    let whole = suite(&[]);
    let policies = suite(&["-policies", "-every", POLICIES_EVERY]);
    let bypasses = suite(&["-bypass"]);
    whole.and(policies).and(bypasses)
}

/// Runs the program that sends the suite; it prints its RESULT lines.
fn suite(args: &[&str]) -> Result<()> {
    let sources = root().join("wasm-modules/coraza/ftw");
    let kept = target_dir().join("ftw");
    let program = kept.join("ftw");
    steps::run(
        Command::new("go")
            .current_dir(sources)
            .args(["build", "-tags", "no_fs_access", "-o"])
            .arg(&program)
            .arg("."),
    )?;
    steps::run(
        Command::new(&program)
            .arg("-aegis")
            .arg(target_dir().join("debug/aegis"))
            .arg("-state")
            .arg(kept.join("state"))
            .args(args),
    )
}

/// The suite without HTTP, natively and in the sandbox. It is a test of the plugin host, whose figures are shown here.
fn differential() -> Result<()> {
    const TEST: &str =
        "the_sandboxed_module_matches_the_same_rules_as_native_coraza_on_the_whole_suite";
    // The selection of `make test`: a smaller one would build dependencies anew, with other features.
    let mut test = cargo(&[&["test", "--test", "modules"], &verify::ALL[..]].concat());
    test.args([TEST, "--", "--nocapture"]);
    eprintln!("$ cargo test --test modules {TEST}");
    let output = test
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<_> = text
        .lines()
        .filter_map(|line| line.find("RESULT ").and_then(|at| line.get(at..)))
        .collect();
    figures.iter().for_each(|line| println!("{line}"));
    if !output.status.success() || figures.is_empty() {
        eprintln!("{text}");
        bail!("the module in the sandbox does not match what Coraza matches natively");
    }
    Ok(())
}
