//! What an operator writes: typed, defaulted, documented, bounded.
//!
//! One definition (the `settings!`, `overlay!` and `choices!` blocks under [`model`]) gives the struct, its reader,
//! defaults and bounds, the JSON Schema, the commented example and the list of keys, so that none of them can drift.
//!
//! **Invariants.** A [`resolved::Validated`] has passed every check this crate can make. Reading finds everything wrong
//! at once and never stops at the first; it never panics, whatever the bytes. No key is ignored: it acts or is refused.
//! A secret never stands in the settings and never in a message.
//!
//! **Limits.** [`limits`] and the bounds of each key; the schema shows both.
#![forbid(unsafe_code)]

mod checks;
mod context;
mod define;
mod example;
mod files;
mod flags;
mod keys;
mod kind;
pub mod limits;
pub mod model;
mod networks;
mod node;
mod overlay;
mod problem;
mod read;
mod resolve;
pub mod resolved;
mod scalar;
mod schema;
mod shape;
mod yaml;

pub use example::example_yaml;
pub use flags::{Flags, from_flags};
pub use keys::{KeyInfo, keys, restart_diff};
pub use networks::{Network, NetworkError, Networks};
pub use problem::{At, Problem, Severity, render};
pub use read::{Loaded, load, load_moved, parse};
pub use scalar::{ScalarError, parse_duration, parse_size, show_duration, show_size};
pub use schema::schema;

#[cfg(test)]
mod tests;
