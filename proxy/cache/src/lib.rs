//! What may be stored, what may be answered from the store, and the store in memory.
//!
//! - [`decide`] holds the rules of RFC 9111 as functions of heads and a time;
//! - [`key`] and [`vary`] say which requests ask for the same answer;
//! - [`l1`] keeps [`object`]s: immutable, shared, bounded by bytes, readable while they are still being received;
//! - [`hit_for_miss`] remembers what cannot be stored, so that nobody waits for it;
//! - [`status`] writes the `Cache-Status` field (RFC 9211).
//!
//! Invariants:
//! - nothing here reads a clock: `now` is an argument;
//! - every byte the store holds, received, stored or only still being read, is counted against one bound;
//! - an answer whose end was not seen is never stored;
//! - no Pingora type appears here: `pipeline` translates.
#![forbid(unsafe_code)]

pub mod body;
pub mod budget;
pub mod conditional;
pub mod decide;
mod directives;
mod error;
pub mod hit_for_miss;
pub mod key;
pub mod l1;
pub mod object;
pub mod status;
pub mod vary;

pub use error::CacheError;
