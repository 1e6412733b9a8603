//! Modules in Go.

use crate::steps;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Coraza without what the sandbox has no use for: `tinygo` leaves out writers and formats that need a network or files
/// (10 MB instead of 25), `no_fs_access` keeps bodies in memory.
pub(super) const TAGS: &str = "tinygo,no_fs_access";

const REMEDY: &str = "Go is needed for the WAF's module: type `sudo apt-get install -y golang-go` where that is Go 1.25 or newer, else take it from https://go.dev/dl/";

/// As in `1.26.8`.
pub(super) fn version() -> Result<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .output()
        .context(REMEDY)?;
    let version = String::from_utf8_lossy(&output.stdout);
    let Some(number) = version.trim().strip_prefix("go") else {
        bail!(
            "`go env GOVERSION` gave nothing: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    };
    Ok(number.to_owned())
}

/// Builds one package as a Wasm reactor.
pub(super) fn build(module: &Path, package: &str, tags: &str, to: &Path) -> Result<()> {
    let mut go = Command::new("go");
    // No revision in it: the same sources give the same module, which hosts keep compiled by its digest.
    go.current_dir(module)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
        ])
        .args(["-tags", tags, "-o"])
        .arg(to)
        .arg(package);
    steps::run(&mut go)
}

/// Runs a program of a module natively and keeps what it prints.
pub(super) fn output(module: &Path, program: &[&str], to: &Path) -> Result<()> {
    let file = File::create(to).with_context(|| to.display().to_string())?;
    let mut go = Command::new("go");
    go.current_dir(module)
        .args(["run", "-tags", "no_fs_access"])
        .args(program)
        .stdout(file);
    steps::run(&mut go)
}

/// gofmt, vet and the tests of a module, natively and without files.
pub(super) fn test(module: &Path) -> Result<()> {
    formatted(module)?;
    // Under `tinygo` the SDK's emulator of a host does not build, so that tag is only on in the shipped module.
    for verb in ["vet", "test"] {
        let mut go = Command::new("go");
        go.current_dir(module)
            .args([verb, "-tags", "no_fs_access", "./..."]);
        steps::run(&mut go)?;
    }
    Ok(())
}

/// gofmt and vet of a module that only builds for Wasm.
pub(super) fn vet_wasm(module: &Path) -> Result<()> {
    formatted(module)?;
    let mut go = Command::new("go");
    go.current_dir(module)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args(["vet", "./..."]);
    steps::run(&mut go)
}

fn formatted(module: &Path) -> Result<()> {
    let output = Command::new("gofmt")
        .current_dir(module)
        .args(["-l", "."])
        .output()
        .context("gofmt, which comes with Go")?;
    let files = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !files.is_empty() {
        bail!(
            "gofmt would change {} in {}",
            files.split_whitespace().collect::<Vec<_>>().join(", "),
            module.display()
        );
    }
    Ok(())
}

/// The version of a module that `go.mod` requires, without the `v`.
pub(super) fn required(go_mod: &Path, module: &str) -> Result<String> {
    let text = std::fs::read_to_string(go_mod).with_context(|| go_mod.display().to_string())?;
    find(&text, module).with_context(|| format!("{} does not require {module}", go_mod.display()))
}

fn find(go_mod: &str, module: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("require ").unwrap_or(line);
        let version = line.strip_prefix(module)?.trim_start().strip_prefix('v')?;
        version.split_whitespace().next().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn versions_are_read_from_go_mod() {
        let text = "module x\n\nrequire (\n\texample.com/a/v3 v3.8.1\n\texample.com/b v1.0.0 // indirect\n)\n";
        assert_eq!(find(text, "example.com/a/v3").as_deref(), Some("3.8.1"));
        assert_eq!(find(text, "example.com/b").as_deref(), Some("1.0.0"));
        assert_eq!(find(text, "example.com/c"), None);
    }
}
