//! What tests, the demo and the benches drive Aegis with: the real binary as a child process, real
//! clients (curl, raw TCP), real origins (in-process, nginx, the demo site) and certificates by openssl.
//!
//! Invariants: no fixed port, no sleep as a synchronisation (deadlines by [`wait::eventually`]), every child
//! ends with its owner, even when a test is killed. A failure panics with what was seen: this crate is only
//! linked into tests and developer tools.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a failure here must end the test and say why"
)]

pub mod aegis;
pub mod cases;
pub mod certs;
pub mod config;
pub mod curl;
pub mod demo;
pub mod h2;
pub mod haproxy;
pub mod metrics;
pub mod nginx;
pub mod origin;
pub mod paths;
pub mod play;
pub mod ports;
pub mod process;
pub mod raw;
pub mod reply;
pub mod tape;
pub mod wait;
mod warm;

pub use aegis::Aegis;
pub use config::Config;
pub use curl::{Answer, Curl};
pub use origin::{Origin, Received};
pub use reply::Reply;
pub use wait::eventually;
