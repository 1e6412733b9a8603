//! The text of an answer: one `name: value` a line.

use std::fmt::Display;

/// Lines in the order they were said.
#[derive(Default)]
pub struct Lines(pub String);

impl Lines {
    /// Adds a line.
    pub fn say(&mut self, name: &str, value: impl Display) {
        self.0 += &format!("{name}: {value}\n");
    }

    /// Adds a line with a status and whether what came with it is right.
    pub fn check(&mut self, name: &str, status: u32, right: bool) {
        self.say(name, format!("{status} {right}"));
    }
}

/// Bytes as text; `(none)` when there are none.
pub fn text(bytes: Option<Vec<u8>>) -> String {
    bytes.map_or_else(
        || "(none)".into(),
        |b| String::from_utf8_lossy(&b).into_owned(),
    )
}
