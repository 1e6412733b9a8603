//! `differences.txt`: sections of a reason and the differences it explains.
//!
//! A difference is `peer`, what the peer makes of a row, and the row's name, with tabs between them. Where a peer makes now
//! this and now that of a row, by how its bytes arrive, ` // ` stands between; `none` is no difference. The first lines name
//! the versions the book was held to. With another version of a peer a row may come out in another way for the same
//! reason: then it is enough that the row is in the book, and a line may be of no use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

pub(crate) struct Book {
    /// `nginx 1.22`.
    versions: BTreeSet<String>,
    lines: Vec<Line>,
}

struct Line {
    number: usize,
    peer: String,
    outcome: String,
    row: String,
}

/// No difference.
const NONE: &str = "none";

impl Line {
    fn is(&self, outcome: &str) -> bool {
        self.outcome.split(" // ").any(|one| one == outcome)
    }
}

impl Book {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strictness/differences.txt");
        let text = std::fs::read_to_string(&path).expect("the book");
        let mut book = Self {
            versions: BTreeSet::new(),
            lines: Vec::new(),
        };
        let mut reason = false;
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            if let Some(version) = line.strip_prefix("held to: ") {
                book.versions.insert(version.to_owned());
            } else if let Some(why) = line.strip_prefix("== ") {
                reason = why.len() > 20;
            } else if let [peer, outcome, row] = line.split('\t').collect::<Vec<_>>()[..] {
                assert!(reason, "line {number} stands under no reason");
                book.lines.push(Line {
                    number,
                    peer: peer.to_owned(),
                    outcome: outcome.to_owned(),
                    row: row.to_owned(),
                });
            } else {
                let prose = line.is_empty() || line.starts_with('#');
                assert!(
                    prose,
                    "line {number} is no reason and no difference: {line}"
                );
            }
        }
        book
    }

    /// Every difference is in the book, and the book has no other.
    pub(crate) fn hold(
        &self,
        peer: &str,
        version: &str,
        differences: &BTreeMap<String, String>,
        rows: &BTreeSet<&str>,
    ) {
        let known = self.versions.contains(&format!("{peer} {version}"));
        let mut wrong = String::new();
        for (row, outcome) in differences {
            let mut lines = self
                .lines
                .iter()
                .filter(|l| l.peer == peer && l.row == *row);
            if !lines.any(|line| !known || line.is(outcome)) {
                writeln!(wrong, "unexplained:\n{peer}\t{outcome}\t{row}").expect("text");
            }
        }
        let mut seen = BTreeSet::new();
        for line in self.lines.iter().filter(|line| line.peer == peer) {
            let number = line.number;
            if !rows.contains(&*line.row) {
                writeln!(wrong, "line {number} is of a row there is not").expect("text");
            }
            if !seen.insert(&line.row) {
                writeln!(wrong, "line {number} is there twice").expect("text");
            }
            let now = differences.get(&line.row).map_or(NONE, |now| now);
            if known && !line.is(now) {
                writeln!(wrong, "line {number} is out of date: now {now}").expect("text");
            }
        }
        assert!(
            wrong.is_empty(),
            "{peer} {version} differs from Aegis otherwise than tests/strictness/differences.txt says; \
             put each unexplained line under its reason, or mend the guard:\n{wrong}"
        );
    }
}
