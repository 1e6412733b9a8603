//! The call table: which crate may use which. A new edge is a reviewed line here.

use crate::workspace::{cargo, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, iter};

/// Crates of this workspace a crate may use. Test support is free for every crate's tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("aegis-settings", &[]),
    ("aegis-telemetry", &[]),
    ("aegis-identity", BASE),
    ("aegis-cache", BASE),
    ("aegis-certs", BASE),
    ("aegis-limits", BASE),
    ("aegis-verdicts", BASE),
    ("aegis-origin", BASE),
    ("aegis-plugins", BASE),
    (
        "aegis-front",
        &[
            "aegis-settings",
            "aegis-telemetry",
            "aegis-identity",
            "aegis-certs",
        ],
    ),
    (
        "aegis-pipeline",
        &[
            "aegis-settings",
            "aegis-telemetry",
            "aegis-identity",
            "aegis-limits",
            "aegis-plugins",
            "aegis-cache",
            "aegis-origin",
            "aegis-certs",
            "aegis-verdicts",
        ],
    ),
    ("aegis-control", BASE),
    (
        "aegis",
        &[
            "aegis-settings",
            "aegis-telemetry",
            "aegis-identity",
            "aegis-certs",
            "aegis-cache",
            "aegis-origin",
            "aegis-plugins",
            "aegis-front",
            "aegis-pipeline",
            "aegis-control",
            "aegis-verdicts",
        ],
    ),
    ("aegis-testkit", &[]),
    ("e2e", &["aegis-testkit", "aegis-settings"]),
    ("xtask", &["aegis-testkit"]),
    ("bare-pingora", &[]),
    ("bench-door", &[]),
    ("bench-guard", &["aegis-front"]),
    ("bench-limits", &["aegis-limits", "aegis-verdicts"]),
];

/// Edges that only tests have.
const TESTS_MAY_USE: &[(&str, &str)] = &[
    // The guard is held to what the origin behind the whole proxy gets.
    ("aegis-pipeline", "aegis-front"),
];

const BASE: &[&str] = &["aegis-settings", "aegis-telemetry"];

/// Libraries that only these crates may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("pingora-proxy", &["aegis-pipeline", "bare-pingora"]),
    ("pingora-cache", &["aegis-pipeline"]),
    (
        "pingora-core",
        &[
            "aegis-front",
            "aegis-origin",
            "aegis-pipeline",
            "aegis",
            "bare-pingora",
        ],
    ),
    ("wasmtime", &["aegis-plugins"]),
    (
        "boring",
        &["aegis-certs", "aegis-front", "aegis", "bench-door", "e2e"],
    ),
    ("saphyr-parser", &["aegis-settings"]),
    ("notify", &["aegis-control"]),
    (
        "anyhow",
        &["aegis", "xtask", "aegis-testkit", "bench-door", "e2e"],
    ),
];

/// Longest allowed file that holds the Pingora trait.
const ADAPTER_LINES_MAX: usize = 300;
const MEDIAN_MAX: usize = 180;
const P90_MAX: usize = 450;
const LINES_MAX: usize = 900;

/// Crate → (library, kind) as its Cargo.toml names them.
fn dependencies() -> BTreeMap<String, Vec<(String, String)>> {
    let output = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ])
    .output()
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("normal").to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|p| {
            let dependencies = p["dependencies"].as_array().unwrap().iter();
            (
                text(&p["name"]),
                dependencies
                    .map(|d| (text(&d["name"]), text(&d["kind"])))
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn crates_use_only_what_the_call_table_allows() {
    let crates = dependencies();
    let mut wrong = Vec::new();
    for (name, dependencies) in &crates {
        let Some((_, allowed)) = MAY_USE.iter().find(|(n, _)| n == name) else {
            wrong.push(format!("{name} has no line in MAY_USE"));
            continue;
        };
        for (used, kind) in dependencies
            .iter()
            .filter(|(used, _)| crates.contains_key(used))
        {
            let edge = (name.as_str(), used.as_str());
            let for_tests =
                kind == "dev" && (used == "aegis-testkit" || TESTS_MAY_USE.contains(&edge));
            if !for_tests && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{name} may not use {used}"));
            }
        }
        for (library, only) in ONLY_IN {
            if dependencies.iter().any(|(used, _)| used == library)
                && !only.contains(&name.as_str())
            {
                wrong.push(format!("{library} belongs in {only:?} only, not in {name}"));
            }
        }
    }
    let gone = MAY_USE.iter().filter(|(n, _)| !crates.contains_key(*n));
    wrong.extend(gone.map(|(n, _)| format!("MAY_USE names {n}, which does not exist")));
    let gone = ONLY_IN
        .iter()
        .flat_map(|(_, only)| *only)
        .filter(|n| !crates.contains_key(**n));
    wrong.extend(gone.map(|n| format!("ONLY_IN names {n}, which does not exist")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_readable() {
    let files = rust_files();
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let mut sizes: Vec<(usize, &PathBuf)> =
        files.iter().map(|f| (text(f).lines().count(), f)).collect();
    sizes.sort();
    let at = |percent: usize| sizes[(sizes.len() - 1) * percent / 100];
    assert!(at(50).0 <= MEDIAN_MAX, "median: {:?}", at(50));
    assert!(at(90).0 <= P90_MAX, "p90: {:?}", at(90));
    assert!(at(100).0 <= LINES_MAX, "longest: {:?}", at(100));
    for (lines, file) in sizes
        .iter()
        .filter(|(_, f)| text(f).contains(" ProxyHttp for "))
    {
        assert!(
            *lines <= ADAPTER_LINES_MAX,
            "{} has {lines} lines: move logic into a stage",
            file.display()
        );
    }
}

#[test]
fn unsafe_code_is_forbidden_or_its_reason_stands_beside_it() {
    let forbids = |file: &Path| {
        fs::read_to_string(file)
            .unwrap()
            .contains("#![forbid(unsafe_code)]")
    };
    let mut wrong = BTreeSet::new();
    for crate_dir in fs::read_dir(root().join("proxy"))
        .unwrap()
        .flatten()
        .map(|d| d.path())
    {
        let roots = ["src/lib.rs", "src/main.rs"].map(|f| crate_dir.join(f));
        let forbidden = roots.iter().filter(|f| f.exists()).all(|f| forbids(f));
        let has_reason = rust_files_in(&crate_dir.join("src")).iter().any(|f| {
            let text = fs::read_to_string(f).unwrap();
            text.contains("unsafe_code") && text.contains("reason =")
        });
        if !forbidden && !has_reason {
            wrong.insert(
                crate_dir
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "no #![forbid(unsafe_code)] and no reason: {wrong:?}"
    );
}

fn rust_files() -> Vec<PathBuf> {
    ["proxy", "benches", "wasm-modules"]
        .iter()
        .flat_map(|d| rust_files_in(&root().join(d)))
        .collect()
}

fn rust_files_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let entries = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| !p.ends_with("target"));
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files_in(&path),
            false => iter::once(path)
                .filter(|p| p.extension().is_some_and(|e| e == "rs"))
                .collect(),
        })
        .collect()
}
