//! Regular expressions, as a module writes them for the host.
//!
//! The syntax is that of Rust's `regex`, and nothing in it is by default: a module that speaks another dialect translates
//! what its own parser made of a pattern. There are no back references and no look-around, so every search is linear.

use super::Refused;
use super::pattern::Pattern;
use regex_automata::MatchKind;
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use std::error::Error;

/// The automaton of one pattern.
const NFA_MAX: usize = 8 << 20;
/// Its cached part on one thread, in each direction.
const CACHE_MAX: usize = 1 << 20;

/// Compiles a pattern, over text or over bytes.
pub(super) fn compile(source: &[u8], text: bool) -> Result<Pattern, Refused> {
    let source = std::str::from_utf8(source).map_err(|error| Refused(error.to_string()))?;
    let syntax = syntax::Config::new()
        .unicode(text)
        .utf8(text)
        .nest_limit(200);
    let config = Regex::config()
        .utf8_empty(text)
        .match_kind(MatchKind::LeftmostFirst)
        .nfa_size_limit(Some(NFA_MAX))
        .onepass_size_limit(Some(1 << 20))
        .hybrid_cache_capacity(CACHE_MAX);
    let regex = Regex::builder()
        .configure(config)
        .syntax(syntax)
        .build(source)
        .map_err(|error| Refused(sentence(&error)))?;
    Ok(Pattern::new(regex, text, states(source, syntax)))
}

/// The error and what is behind it, in one line.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // A parser's error draws the place below the pattern: its last line says what is wrong.
        let said = error.to_string();
        text.push_str(said.lines().last().unwrap_or_default());
        text.push_str(": ");
        next = error.source();
    }
    text.truncate(text.trim_end_matches(": ").len());
    text
}

/// The size of the automaton that a search falls back to.
fn states(source: &str, syntax: syntax::Config) -> u64 {
    let config = thompson::Config::new().nfa_size_limit(Some(NFA_MAX));
    let built = thompson::Compiler::new()
        .configure(config)
        .syntax(syntax)
        .build(source);
    let states = built.map_or(usize::MAX, |nfa| nfa.states().len());
    u64::try_from(states).unwrap_or(u64::MAX)
}
