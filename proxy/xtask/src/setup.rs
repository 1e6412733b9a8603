//! Finding what is missing, and installing it where this user may.

use crate::needs::{NEEDS, Need, Target};
use crate::steps;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::process::Command;

/// Makes sure of all that `target` needs. Silent when nothing is missing.
pub(crate) fn run(target: Target) -> Result<()> {
    let missing = missing(target);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("missing: {}", need.name);
    }
    let packages: BTreeSet<&str> = missing.iter().flat_map(|n| n.packages).copied().collect();
    if !packages.is_empty() {
        let Some(sudo) = how_to_install() else {
            let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
            bail!(
                "type this, then try again:\n\n  sudo apt-get update && sudo apt-get install -y {packages}\n"
            );
        };
        install(sudo, &packages)?;
    }
    let still: Vec<&str> = self::missing(target).iter().map(|n| n.name).collect();
    if still.is_empty() {
        return Ok(());
    }
    let mut remedy = String::new();
    if still.iter().any(|n| n.starts_with("Go")) {
        remedy += "\n  Go: this system's package is too old; take it from https://go.dev/dl/";
    }
    if still.iter().any(|n| n.starts_with("rustfmt")) {
        remedy += "\n  rustfmt and clippy: rustup component add rustfmt clippy";
    }
    bail!("still missing: {}{remedy}", still.join(", "))
}

fn missing(target: Target) -> Vec<&'static Need> {
    NEEDS
        .iter()
        .filter(|n| n.from <= target && !(n.is_there)())
        .collect()
}

/// What to put before `apt-get`; `None` when this user may not install.
fn how_to_install() -> Option<&'static [&'static str]> {
    let works = |args: &[&str]| {
        let (program, args) = args.split_first()?;
        Command::new(program)
            .args(args)
            .output()
            .ok()
            .filter(|o| o.status.success())
    };
    works(&["apt-get", "--version"])?;
    let root = works(&["id", "-u"])?.stdout.starts_with(b"0");
    match root {
        true => Some(&[]),
        false => works(&["sudo", "-n", "true"]).map(|_| &["sudo", "-n"][..]),
    }
}

fn install(sudo: &[&str], packages: &BTreeSet<&str>) -> Result<()> {
    let apt = |args: &[&str]| {
        let words: Vec<&str> = sudo
            .iter()
            .copied()
            .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"])
            .chain(args.iter().copied())
            .collect();
        let mut command = Command::new(words.first().copied().unwrap_or("apt-get"));
        command.args(words.iter().skip(1));
        command
    };
    steps::run(&mut apt(&["update"]))?;
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    steps::run(&mut apt(&install))
}
