//! Where the Wasm modules are: files beside the program, so that each can be rolled out alone.

use aegis_control::Copies;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// The WAF module's file.
const CORAZA: &str = "coraza.wasm";

/// The directories that may hold modules, best first.
fn directories(exe: &Path) -> Vec<PathBuf> {
    let Some(dir) = exe.parent() else {
        return Vec::new();
    };
    // `target/debug/aegis` → `target/modules`, `dist/bin/aegis` → `dist/lib/aegis/modules`.
    vec![dir.join("../modules"), dir.join("../lib/aegis/modules")]
}

fn exe() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Where the WAF module is, or, if it is nowhere, where it may come to be. Links are left as they are, so that one that
/// is led elsewhere is seen.
pub(crate) fn coraza_places() -> Vec<PathBuf> {
    exe().map_or_else(Vec::new, |exe| places(&exe, CORAZA))
}

fn places(exe: &Path, name: &str) -> Vec<PathBuf> {
    let all: Vec<_> = directories(exe)
        .iter()
        .map(|dir| plain(&dir.join(name)))
        .collect();
    match all.iter().find(|path| path.is_file()) {
        Some(found) => vec![found.clone()],
        None => all,
    }
}

/// The copy of the WAF module among those of last known good.
pub(crate) fn coraza_copy(copies: &Copies) -> Option<&PathBuf> {
    let dirs = exe().map_or_else(Vec::new, |exe| directories(&exe));
    let mut copy = dirs.iter().map(|dir| copies.get(&plain(&dir.join(CORAZA))));
    copy.find_map(|copy| copy)
}

/// The WAF module.
///
/// # Errors
/// It is nowhere; the text says where it was looked for and which command makes one.
pub(crate) fn coraza() -> anyhow::Result<PathBuf> {
    let exe = exe().context("where this program is cannot be found out")?;
    find(&exe, CORAZA)
}

fn find(exe: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let directories = directories(exe);
    let found = directories
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if let Some(path) = found {
        return Ok(path.canonicalize().unwrap_or(path));
    }
    let places: Vec<_> = directories
        .iter()
        .map(|dir| plain(&dir.join(name)).display().to_string())
        .collect();
    let remedy = if in_source_tree(exe) {
        "build it with `cargo xtask modules`"
    } else {
        "install Aegis again, with its lib/aegis/modules"
    };
    bail!(
        "the WAF module {name} is missing: {remedy}, or run without the WAF (waf: off, or --waf off); looked for {}",
        places.join(" and ")
    )
}

/// `a/b/../c` as `a/c`, for people to read.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

/// Whether the program lies in the `target` directory of a source tree.
fn in_source_tree(exe: &Path) -> bool {
    exe.ancestors()
        .any(|dir| dir.join("Cargo.toml").is_file() && dir.join("wasm-modules").is_dir())
}

/// What the manifest beside the WAF module says: `coraza` and `crs`, if it is there.
pub(crate) fn coraza_versions() -> Option<serde_json::Value> {
    let manifest = std::fs::read(coraza().ok()?.with_extension("json")).ok()?;
    serde_json::from_slice(&manifest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_beside_the_program_in_both_layouts() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("real");
        for (exe, module) in [
            ("target/debug/aegis", "target/modules"),
            ("dist/bin/aegis", "dist/lib/aegis/modules"),
        ] {
            let (exe, module) = (root.join(exe), root.join(module));
            std::fs::create_dir_all(exe.parent().expect("in a directory")).expect("makes");
            assert!(find(&exe, "x.wasm").is_err());
            std::fs::create_dir_all(&module).expect("makes");
            let place = module.join("x.wasm");
            assert!(places(&exe, "x.wasm").contains(&place), "it may come to be");
            std::fs::write(&place, "").expect("writes");
            assert_eq!(places(&exe, "x.wasm"), [place]);
            assert_eq!(find(&exe, "x.wasm").expect("found"), module.join("x.wasm"));
        }
    }

    #[test]
    fn a_missing_module_names_the_command_that_makes_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let exe = dir.path().join("target/debug/aegis");
        let installed = find(&exe, CORAZA).expect_err("missing").to_string();
        assert!(installed.contains("install Aegis again"), "{installed}");
        assert!(installed.contains("--waf off"), "{installed}");
        assert!(!installed.contains(".."), "{installed}");
        std::fs::create_dir_all(dir.path().join("wasm-modules")).expect("makes");
        std::fs::write(dir.path().join("Cargo.toml"), "").expect("writes");
        let tree = find(&exe, CORAZA).expect_err("missing").to_string();
        assert!(tree.contains("cargo xtask modules"), "{tree}");
    }
}
