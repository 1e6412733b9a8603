//! Modules in Rust: the first way that works here, said in one line.

use crate::{steps, workspace};
use anyhow::{Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way from Rust to Wasm.
enum Way {
    /// The toolchain in use has the target.
    Target(&'static str),
    /// Another compiler that brings its library's source, which is then built for Wasm; with that toolchain's linker.
    Source { rustc: PathBuf, linker: PathBuf },
}

const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SOURCE_TARGET: &str = "wasm32-unknown-unknown";

/// Builds the workspace in release; where its modules are then.
pub(super) fn build(sources: &Path) -> Result<PathBuf> {
    let target_dir = workspace::target_dir().join("wasm");
    let mut cargo = workspace::cargo(&["build", "--release", "--locked", "--target-dir"]);
    cargo.current_dir(sources).arg(&target_dir);
    let target = match way()? {
        Way::Target(target) => {
            eprintln!("Rust to Wasm: the toolchain's target {target}");
            cargo.args(["--target", target]);
            target
        }
        Way::Source { rustc, linker } => {
            eprintln!(
                "Rust to Wasm: {} and its library's source (about a minute the first time)",
                rustc.display()
            );
            cargo
                .env("RUSTC", rustc)
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .args(["-Zbuild-std=std,panic_abort", "--target", SOURCE_TARGET]);
            SOURCE_TARGET
        }
    };
    steps::run(&mut cargo)?;
    Ok(target_dir.join(target).join("release"))
}

fn way() -> Result<Way> {
    if let Some(way) = target().or_else(source) {
        return Ok(way);
    }
    // Adds to the toolchain of this checkout; fails where rustup is not in charge or has no network.
    let mut rustup = Command::new("rustup");
    rustup
        .current_dir(workspace::root())
        .args(["target", "add", "wasm32-wasip1"]);
    if steps::run(&mut rustup).is_ok()
        && let Some(way) = target()
    {
        return Ok(way);
    }
    if is_root() {
        let apt = |args: &[&str]| {
            let mut command = Command::new("apt-get");
            command
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["-q", "-y"])
                .args(args);
            steps::run(&mut command)
        };
        if apt(&["update"]).is_ok()
            && apt(&["install", "rustc-web", "rust-web-src"]).is_ok()
            && let Some(way) = source()
        {
            return Ok(way);
        }
    }
    bail!(
        "Rust cannot build for Wasm here; type this, then try again:\n\n  rustup target add wasm32-wasip1\n"
    )
}

/// A Wasm target of the toolchain in use.
fn target() -> Option<Way> {
    let libraries = sysroot("rustc")?.join("lib/rustlib");
    ["wasm32-wasip1", SOURCE_TARGET]
        .into_iter()
        .find(|target| libraries.join(target).join("lib").is_dir())
        .map(Way::Target)
}

/// Debian's compiler with its library's source.
fn source() -> Option<Way> {
    let rustc = PathBuf::from(SYSTEM_RUSTC);
    let library = sysroot(SYSTEM_RUSTC)?.join("lib/rustlib/src/rust/library/std/Cargo.toml");
    let host = env::consts::ARCH;
    let linker = sysroot("rustc")?
        .join("lib/rustlib")
        .join(format!("{host}-unknown-linux-gnu/bin/rust-lld"));
    (library.exists() && linker.exists()).then_some(Way::Source { rustc, linker })
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc)
        .current_dir(workspace::root())
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0"))
}
