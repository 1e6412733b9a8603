//! The modules of this checkout in the sandbox: the WAF's, and what the plugin contract promises of the examples.
//!
//! They are built by `cargo xtask modules`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test says by panicking what is wrong"
)]

mod contract;
mod cost;
mod examples;
mod suite;
mod support;
mod waf;
