//! Every host function asked by real modules, one in Rust and one in Go (`wasm-modules/examples/*/hostcalls`), which
//! must say the same; the table in the plugin contract; and the WAF's own module.
//!
//! The modules are built by `cargo xtask modules`.

mod coraza;
mod examples;
mod outside;
mod support;
mod table;
