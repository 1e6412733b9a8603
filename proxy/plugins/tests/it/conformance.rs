//! The list of what other hosts test, and where it is tested here: `tests/conformance.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const LIST: &str = include_str!("../conformance.md");

/// Rows of the list: a file, the tests that state its cases, why others do not concern us.
fn rows() -> Vec<(&'static str, Vec<&'static str>, &'static str)> {
    let rows = LIST.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let inner = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'));
        let cells: Vec<_> = inner.expect("a row").split(" | ").map(str::trim).collect();
        let [file, tests, note] = cells[..] else {
            panic!("three cells, in {line}");
        };
        let names = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let [file] = names(file)[..] else {
            panic!("one file, in {line}");
        };
        (file, names(tests), note)
    })
    .collect()
}

/// Names of the tests of this program.
fn own_tests() -> BTreeSet<String> {
    let program = std::env::current_exe().expect("a path");
    let out = Command::new(program).arg("--list").output().expect("runs");
    let text = String::from_utf8(out.stdout).expect("text");
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    names
        .filter_map(|name| name.rsplit("::").next().map(str::to_owned))
        .collect()
}

/// Names of functions under an attribute that makes them tests, in the sources below a folder.
fn tests_in(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
                    found.extend(name.split('(').next().map(str::to_owned));
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_test_that_the_list_names_exists_and_every_row_has_one_or_a_reason() {
    let rows = rows();
    let mut there = own_tests();
    let proxy = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for dir in [
        "plugins/src",
        "plugins/tests/modules",
        "pipeline/src",
        "e2e/tests",
    ] {
        tests_in(&proxy.join(dir), &mut there);
    }
    let (mut files, mut named) = (BTreeSet::new(), BTreeSet::new());
    for (file, tests, note) in &rows {
        assert!(files.insert(*file), "{file} is there twice");
        assert!(
            !tests.is_empty() || note.split(' ').count() >= 3,
            "{file}: no test, and no reason"
        );
        for test in tests {
            assert!(there.contains(*test), "{file}: there is no test `{test}`");
            named.insert(*test);
        }
    }
    assert!(named.len() >= 80, "{} tests are named", named.len());
    let of = |prefix: &str| {
        rows.iter()
            .filter(|(file, ..)| file.starts_with(prefix))
            .count()
    };
    assert_eq!(
        (of("t/03-proxy_wasm/"), of("test/")),
        (98, 41),
        "files of the two projects"
    );
}

#[test]
fn a_row_without_its_test_would_be_noticed() {
    let there = own_tests();
    assert!(there.contains("a_row_without_its_test_would_be_noticed"));
    assert!(!there.contains("a_test_that_nobody_wrote"));
    let rows = rows();
    assert!(
        rows.iter().any(|(_, tests, _)| tests.is_empty()),
        "some rows have only a reason"
    );
}
