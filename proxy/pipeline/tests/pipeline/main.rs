//! The pipeline over real sockets: a plain accept loop in front, origins that write down every byte behind.

#![allow(clippy::expect_used, reason = "a test that fails shall panic")]

mod cache_answers;
mod cache_fills;
mod calls;
mod door;
mod edited;
mod frames;
mod held_bodies;
mod http2;
mod limits;
mod log;
mod plugins;
mod proxying;
mod spooled_bodies;
mod support;
mod verdicts;
