//! Log lines of a module: bounded in length and rate, under the plugin's name.

use crate::limits::LOG_LINE_MAX;
use crate::memory::{Call, Halt, Status, answer, index, put_u32, slice, view};
use crate::state::State;
use std::borrow::Cow;
use tracing::{debug, error, info, warn};

const TRACE: i32 = 0;
const DEBUG: i32 = 1;
const INFO: i32 = 2;
const WARN: i32 = 3;
const ERROR: i32 = 4;
const CRITICAL: i32 = 5;

/// Writes a line for the plugin.
pub(crate) fn write(state: &mut State, level: i32, line: &str) {
    let line = line.trim_end();
    if line.is_empty() {
        return;
    }
    let line = &*in_one_line(line);
    state.remember(line);
    if level <= DEBUG && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    if !state.vm.may_log() {
        return;
    }
    let plugin: &str = &state.vm.name;
    match level {
        TRACE | DEBUG => debug!(plugin, "{line}"),
        INFO => info!(plugin, "{line}"),
        WARN => warn!(plugin, "{line}"),
        _ => error!(plugin, "{line}"),
    }
}

/// The text with what would end a line of the log, or steer a terminal, spelled out: a module speaks for itself only.
fn in_one_line(text: &str) -> Cow<'_, str> {
    let spelled = |c: char| {
        c.is_control() && c != '\t'
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(spelled) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if spelled(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Guest bytes as a line of bounded length.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..LOG_LINE_MAX).unwrap_or(bytes)).into_owned()
}

pub(super) fn log(mut call: Call<'_>, level: i32, ptr: i32, len: i32) -> wasmtime::Result<i32> {
    let mut act = || -> Result<(), Halt> {
        if !(TRACE..=CRITICAL).contains(&level) {
            return Err(Status::BadArgument.into());
        }
        let (memory, state) = view(&mut call)?;
        let line = line(slice(memory, ptr, len)?);
        write(state, level, &line);
        Ok(())
    };
    answer(act())
}

pub(super) fn get_log_level(mut call: Call<'_>, at: i32) -> wasmtime::Result<i32> {
    let level = if tracing::enabled!(tracing::Level::DEBUG) {
        DEBUG
    } else if tracing::enabled!(tracing::Level::INFO) {
        INFO
    } else if tracing::enabled!(tracing::Level::WARN) {
        WARN
    } else {
        ERROR
    };
    answer(view(&mut call).and_then(|(memory, _)| put_u32(memory, at, level.cast_unsigned())))
}

/// `fd_write` on standard output (`info`) or error (`error`): buffered until the end of a line.
pub(super) fn stdio(state: &mut State, level: i32, bytes: &[u8]) {
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let room = LOG_LINE_MAX.saturating_sub(state.stdio.len());
        state
            .stdio
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
        if piece.ends_with(b"\n") || state.stdio.len() >= LOG_LINE_MAX {
            flush(state, level);
        }
    }
}

/// Writes what standard output or error has of a line, as when the module ends in the middle of one.
pub(crate) fn flush(state: &mut State, level: i32) {
    let text = line(&std::mem::take(&mut state.stdio));
    write(state, level, &text);
}

pub(super) const STDOUT: i32 = INFO;
pub(crate) const STDERR: i32 = ERROR;

/// Total length of the pieces an `iovec` list names, and the first bytes of them, as much as a line may have.
pub(super) fn gather(memory: &[u8], list: i32, count: i32) -> Option<(u32, Vec<u8>)> {
    const PIECES_MAX: usize = 1024;
    let count = Some(index(count)).filter(|count| *count <= PIECES_MAX)?;
    let list = memory.get(index(list)..)?.get(..count.checked_mul(8)?)?;
    let mut all = Vec::new();
    let mut total = 0_u32;
    for piece in list.chunks_exact(8) {
        let word = |at: usize| Some(u32::from_le_bytes(piece.get(at..at + 4)?.try_into().ok()?));
        let (start, len) = (word(0)?, word(4)?);
        let bytes = slice(memory, start.cast_signed(), len.cast_signed()).ok()?;
        total = total.checked_add(len)?;
        // A module may hand over more than a line at once; a few lines are enough to understand it.
        let room = (4 * LOG_LINE_MAX).saturating_sub(all.len());
        all.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
    Some((total, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_module_cannot_pass_for_another_or_steer_a_terminal() {
        assert_eq!(in_one_line("tab\tand ünïcode"), "tab\tand ünïcode");
        assert_eq!(
            in_one_line("a\n2026-01-01 ERROR forged\r\u{1b}[2J\0\u{85}\u{202e}"),
            "a\\n2026-01-01 ERROR forged\\r\\u{1b}[2J\\u{0}\\u{85}\\u{202e}"
        );
    }
}
