//! What is printed from the definition is what lies in `config/`, and holds.

use super::{messages, parse};
use crate::{Problem, example_yaml, keys, render, schema};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../config")
        .join(name)
}

fn assert_printed(name: &str, printed: &str) {
    let path = config(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("config can be made");
        fs::write(&path, printed).expect("config can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == printed,
        "config/{name} differs from the definition; run UPDATE=1 cargo test -p aegis-settings"
    );
}

#[test]
fn the_example_is_printed_from_the_definition() {
    assert_printed("aegis.yaml", &example_yaml());
}

#[test]
fn the_schema_is_printed_from_the_definition() {
    let printed = serde_json::to_string_pretty(&schema()).expect("JSON");
    assert_printed("schema/aegis.schema.json", &(printed + "\n"));
}

/// All problems but those of files that are not there.
fn beside_files(problems: &[Problem]) -> Vec<&Problem> {
    problems
        .iter()
        .filter(|problem| {
            !problem.message.ends_with(" does not exist") || !problem.message.contains(": /")
        })
        .collect()
}

#[test]
fn the_example_passes_every_check_but_for_its_files() {
    let problems = parse(&example_yaml()).problems;
    assert!(
        beside_files(&problems).is_empty(),
        "{}",
        render(&problems, false)
    );
    assert_eq!(problems.len(), 6, "{:?}", messages(&problems));
}

#[test]
fn the_example_with_every_optional_key_passes_too() {
    let with_all: Vec<String> = example_yaml()
        .lines()
        .map(|line| {
            let text = line.trim_start();
            let optional = text
                .strip_prefix('#')
                .filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
            let indent = line.len() - text.len();
            optional.map_or_else(|| line.to_owned(), |key| format!("{:indent$}{key}", ""))
        })
        .collect();
    let problems = parse(&with_all.join("\n")).problems;
    assert!(
        beside_files(&problems).is_empty(),
        "{}",
        render(&problems, false)
    );
}

#[test]
fn the_example_shows_every_key() {
    let example = example_yaml();
    for key in keys() {
        // A site names a profile; its keys stand where profiles are explained.
        let last = key.path.rsplit('.').next().unwrap_or_default();
        let shown = format!("{last}:");
        assert!(
            example.contains(&shown),
            "{} is not in the example",
            key.path
        );
    }
}

#[test]
fn keys_are_unique_and_documented() {
    let keys = keys();
    let paths: HashSet<_> = keys.iter().map(|key| key.path.as_str()).collect();
    assert_eq!(paths.len(), keys.len());
    for key in &keys {
        assert!(
            key.doc.ends_with('.'),
            "{}: {:?} is no sentence",
            key.path,
            key.doc
        );
    }
    for expected in [
        "sites[].routes[].waf.mode",
        "pools.*.servers",
        "listeners[].tls.http2",
        "sites[].waf.profile",
    ] {
        assert!(paths.contains(expected), "{expected}");
    }
    let restart = |path: &str| {
        keys.iter()
            .find(|key| key.path == path)
            .is_some_and(|key| key.needs_restart)
    };
    assert!(restart("node.state_dir") && !restart("listeners[].address"));
    assert!(
        !restart("node.log.level")
            && !restart("node.shutdown.grace")
            && !restart("certificates[].cert")
    );
}
