//! Whatever the bytes: no panic, and an answer.

use super::parse;
use crate::{example_yaml, render};

/// Pieces that YAML gives a meaning to.
const PIECES: [&str; 24] = [
    ":",
    ": ",
    "-",
    "- ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!t ",
    "|\n",
    ">\n",
    "? ",
    "---\n",
    "...\n",
    "\t",
    "%YAML 1.2\n",
    "é\u{2028}\u{feff}",
];

fn mutated(text: &str, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..=text.len());
        let end = (at + random.usize(..40)).min(text.len());
        match random.u8(..6) {
            0 => drop(text.drain(at..end)),
            1 => text.truncate(at),
            2 => {
                let piece: Vec<char> = text.get(at..end).unwrap_or_default().to_vec();
                let to = random.usize(..=text.len());
                text.splice(to..to, piece);
            }
            3 | 4 => {
                let piece = PIECES[random.usize(..PIECES.len())];
                text.splice(at..at, piece.chars());
            }
            _ => {
                if let Some(character) = text.get_mut(at) {
                    *character = char::from_u32(random.u32(1..0x3000)).unwrap_or('\u{1f680}');
                }
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn no_mutation_of_the_example_makes_it_panic() {
    let example = example_yaml();
    for seed in 0..1_500 {
        let text = mutated(&example, seed);
        let loaded = parse(&text);
        let lines = u32::try_from(text.split('\n').count()).expect("few lines");
        for problem in &loaded.problems {
            let at = problem.at.as_ref().expect("a place");
            assert!(at.line <= lines + 1, "seed {seed}: {problem}");
        }
        assert!(
            loaded.result.is_ok() || loaded.problems.iter().any(crate::Problem::is_error),
            "seed {seed}"
        );
        assert_eq!(
            render(&loaded.problems, true).is_empty(),
            loaded.problems.is_empty()
        );
    }
}

#[test]
fn a_large_hostile_file_is_answered() {
    let size = crate::limits::FILE_BYTES_MAX as usize;
    let many_keys: String = (0..120_000).map(|index| format!("{index}:\n")).collect();
    for text in [
        "[".repeat(size),
        "{a: ".repeat(size / 4),
        "- ".repeat(size / 2),
        "? ".repeat(size / 2),
        "a: b\n".repeat(size / 5),
        "x".repeat(size),
        "\"\\u0041".repeat(size / 7),
        format!("version: 1\nsites: [{}]", "{},".repeat(size / 4)),
        format!(
            "version: 1\nsites: [{{ hosts: [{}] }}]",
            "a,".repeat(size / 3)
        ),
        many_keys,
    ] {
        let loaded = parse(&text);
        assert!(
            loaded.result.is_err(),
            "{}",
            text.chars().take(40).collect::<String>()
        );
        assert!(loaded.problems.len() <= crate::limits::PROBLEMS_MAX + 1);
    }
}
