//! Tests over the whole crate, on texts as an operator writes them.

mod bad;
mod bounds;
mod drift;
mod files;
mod flags;
mod layers;
mod limits;
mod mutate;
mod schema;

use crate::{Loaded, Problem, render};
use std::path::Path;

/// The smallest settings with `rest` behind them.
fn minimal(rest: &str) -> String {
    format!(
        "version: 1\nlisteners:\n  - address: \"127.0.0.1:0\"\nsites:\n  - hosts: [a.example]\n    origin: http://127.0.0.1:3000\n{rest}"
    )
}

fn parse(text: &str) -> Loaded {
    crate::parse(text, "aegis.yaml", Path::new("/nowhere"))
}

/// The sentences alone.
fn messages(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect()
}

#[test]
fn the_smallest_settings_are_good() {
    let loaded = parse(&minimal(""));
    assert!(
        loaded.problems.is_empty(),
        "{}",
        render(&loaded.problems, false)
    );
    let validated = loaded.result.expect("good");
    assert_eq!(validated.sites.len(), 1);
    assert_eq!(validated.id.len(), 16);
    assert_eq!(
        validated.pools.keys().collect::<Vec<_>>(),
        ["http://127.0.0.1:3000"]
    );
}

#[test]
fn line_ends_and_a_byte_order_mark_of_other_editors_change_nothing() {
    let text = minimal("node: { workers: 2 }\n");
    for text in [
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        format!("---\n{text}...\n"),
    ] {
        let loaded = parse(&text);
        assert!(
            loaded.problems.is_empty(),
            "{}",
            render(&loaded.problems, false)
        );
        assert_eq!(loaded.result.expect("good").settings.node.workers, 2);
    }
}
