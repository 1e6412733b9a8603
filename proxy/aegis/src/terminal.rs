//! Answers on standard output, all else on standard error; colours only for a person.

use std::io::{self, IsTerminal, Write};

/// Whether colours are welcome on a stream that is, or is not, a terminal.
fn coloured(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether colours are welcome on standard output.
pub(crate) fn stdout_coloured() -> bool {
    coloured(io::stdout().is_terminal())
}

/// Whether colours are welcome on standard error.
pub(crate) fn stderr_coloured() -> bool {
    coloured(io::stderr().is_terminal())
}

/// Whether standard error is a person's.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Takes back what was said on the present line of a terminal.
pub(crate) fn clear_line() {
    if stderr_is_terminal() {
        say("\r\x1b[K");
    }
}

/// Appends a line to a string.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {{
        $out.push_str(&format!($($arg)*));
        $out.push('\n');
    }};
}
pub(crate) use line;

/// An answer.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `aegis status | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Something on the way; a closed standard error is nobody's loss.
pub(crate) fn say(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// A failure of a command.
pub(crate) fn error(text: &str) {
    let word = if stderr_coloured() {
        "\x1b[1;31merror\x1b[0m"
    } else {
        "error"
    };
    say(&format!("{word}: {text}\n"));
}

/// Whether a character changes what a terminal shows of others.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of somebody else's making, fit for a terminal: control characters are shown, not obeyed.
pub(crate) fn tame(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hostile = is_hostile(c);
            let escaped = hostile.then(|| c.escape_unicode());
            let plain = (!hostile).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_cannot_drive_a_terminal() {
        assert_eq!(tame("a\x1b[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}");
        assert_eq!(tame("grüße"), "grüße");
    }
}
