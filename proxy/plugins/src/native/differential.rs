//! Random values against every pattern of the rules, and against many that are made to be misunderstood: Go's engine and
//! the host's find the same groups at the same places.
//!
//! `cargo xtask modules` makes the cases: `target/modules/cases/rx.jsonl`.

use super::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn cases() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| checkout.join("target"), |dir| checkout.join(dir));
    target.join("modules/cases/rx.jsonl")
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).expect("a digit") as u8;
    let pairs = text.as_bytes().as_chunks::<2>().0;
    pairs
        .iter()
        .map(|[a, b]| digit(a) << 4 | digit(b))
        .collect()
}

fn expected(groups: &Value) -> Option<Vec<Option<Group>>> {
    let places: Vec<Option<usize>> = groups
        .as_array()?
        .iter()
        .map(|at| usize::try_from(at.as_i64().expect("a place")).ok())
        .collect();
    let pairs = places.as_chunks::<2>().0;
    Some(pairs.iter().map(|[from, to]| from.zip(*to)).collect())
}

#[test]
fn the_host_finds_what_gos_engine_finds_in_random_values() {
    let file = cases();
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{}: {e}; `cargo xtask modules` makes it", file.display()));
    let patterns = Patterns::default();
    let mut operators = Operators::default();
    let (mut values, mut matches, mut refused, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let source = case["source"].as_str().expect("a source");
        let translated = case["translated"].as_str().expect("a pattern").as_bytes();
        let is_text = !case["bytes"].as_bool().expect("a kind");
        let id = match operators.compile(&patterns, is_text, translated) {
            Ok(id) => id,
            Err(error) => {
                refused.push(format!("{source}: {error}"));
                continue;
            }
        };
        for case in case["values"].as_array().expect("values") {
            let value = unhex(case["value"].as_str().expect("a value"));
            let expected = expected(&case["groups"]);
            let room = expected.as_ref().map_or(1, Vec::len);
            let mut groups = vec![None; room];
            values += 1;
            matches += usize::from(expected.is_some());
            let any = operators.search(&patterns, id, &value, &mut []);
            let found = operators
                .search(&patterns, id, &value, &mut groups)
                .expect("searched")
                .then_some(groups);
            if any != Some(expected.is_some()) || found != expected {
                wrong.push(format!(
                    "{source:?} in {:?}: Go {expected:?}, host {found:?} {any:?}",
                    String::from_utf8_lossy(&value)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {values}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(refused, Vec::<String>::new());
    assert!(
        values > 20_000 && matches > 5_000,
        "{values} values, {matches} matches"
    );
}
