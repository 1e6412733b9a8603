//! What is wrong with the settings: where, what was expected, and how to mend it.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The settings are refused.
    Error,
    /// They are used, and may not do what was meant.
    Warning,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct At {
    /// The file, as it was named by whoever asked.
    pub file: String,
    /// Line, from 1; 0 = the file as a whole, and not in JSON.
    #[serde(skip_serializing_if = "is_none")]
    pub line: u32,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "is_none")]
    pub column: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands it over like that"
)]
const fn is_none(number: &u32) -> bool {
    *number == 0
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Key path (`sites[0].waf.mode`); empty = the file as a whole.
    pub key: String,
    /// What is wrong, in one sentence that names the key.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Where.
    pub at: Option<At>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        if let Some(at) = &self.at {
            write!(f, " ({at})")?;
        }
        Ok(())
    }
}

impl Problem {
    /// Whether it keeps the settings from being used.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Column at which a place is printed when the sentence is short enough.
const PLACE_COLUMN: usize = 77;

/// The problems as `aegis check` prints them, with a line that counts them; nothing if there are none.
#[must_use]
pub fn render(problems: &[Problem], color: bool) -> String {
    let mut out = String::new();
    for problem in problems {
        let (word, paint) = match problem.severity {
            Severity::Error => ("error", "\x1b[1;31m"),
            Severity::Warning => ("warning", "\x1b[1;33m"),
        };
        let painted = |text: &str, paint: &str| {
            if color {
                format!("{paint}{text}\x1b[0m")
            } else {
                text.to_owned()
            }
        };
        out.push_str(&format!("{}: {}", painted(word, paint), problem.message));
        if let Some(at) = &problem.at {
            let used = word.len() + 2 + problem.message.chars().count();
            let gap = PLACE_COLUMN.saturating_sub(used).max(2);
            out.push_str(&format!(
                "{:gap$}{}",
                "",
                painted(&at.to_string(), "\x1b[2m")
            ));
        }
        out.push('\n');
        for line in problem.help.iter().flat_map(|help| help.lines()) {
            out.push_str(&format!("       {line}\n"));
        }
    }
    if !problems.is_empty() {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        let warnings = problems.len() - errors;
        let counted = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let sum = match (errors, warnings) {
            (0, warnings) => counted(warnings, "warning"),
            (errors, 0) => counted(errors, "error"),
            _ => format!(
                "{}, {}",
                counted(errors, "error"),
                counted(warnings, "warning")
            ),
        };
        let end = if errors > 0 {
            "; nothing was changed"
        } else {
            ""
        };
        out.push_str(&format!("{sum}{end}\n"));
    }
    out
}

/// What somebody wrote, short and without control characters, between back quotes.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut shown = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN_MAX {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.push('`');
    shown
}

/// The known name nearest to what was written, if it is near enough to be a slip.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if written.len() > crate::limits::NAME_MAX {
        return None;
    }
    // Longer words may hold more slips; a word of two letters has none to spare.
    let slips_max = (written.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&written.to_lowercase(), name),
                name,
            )
        })
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// `did you mean …?` or the list of what is there.
pub(crate) fn remedy<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> String {
    const NAMES_MAX: usize = 12;
    if let Some(name) = nearest(written, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    let names: Vec<&str> = known.clone().into_iter().take(NAMES_MAX).collect();
    let more = known.into_iter().count().saturating_sub(NAMES_MAX);
    match (names.is_empty(), more) {
        (true, _) => format!("there are no {what} here"),
        (false, 0) => format!("{what} here: {}", names.join(", ")),
        (false, more) => format!("{what} here: {} and {more} more", names.join(", ")),
    }
}
