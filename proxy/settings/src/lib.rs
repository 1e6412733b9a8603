//! What an operator writes: typed, defaulted, documented, bounded.
#![forbid(unsafe_code)]

pub mod model;
pub mod resolved;
