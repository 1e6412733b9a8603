//! How the tour speaks.

use std::io::IsTerminal;

/// One step's outcome.
#[derive(Debug)]
pub(super) struct Told {
    /// What was sent.
    pub(super) sent: String,
    /// What came back.
    pub(super) got: String,
    /// What that shows.
    pub(super) shows: String,
    /// The command to see it again.
    pub(super) again: String,
    /// Whether it is as it should be.
    pub(super) held: bool,
}

/// Prints a step.
pub(super) fn step(number: usize, told: &Told) {
    let mark = if told.held {
        paint("32", "✓")
    } else {
        paint("31", "✗")
    };
    println!(
        "{mark} {number:>2}  {}  →  {}  ·  {}",
        told.sent,
        paint("1", &told.got),
        told.shows
    );
    println!("      {}", paint("2", &format!("$ {}", told.again)));
}

/// Prints a heading.
pub(super) fn heading(text: &str) {
    println!("\n{}", paint("1", text));
}

fn paint(code: &str, text: &str) -> String {
    let plain = !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some();
    if plain {
        text.to_owned()
    } else {
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
