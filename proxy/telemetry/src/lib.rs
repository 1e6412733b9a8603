//! What the node tells about itself: metrics, events, the access log, the event log, the ring of security events.
//!
//! A log line and its counter are one act: rooms do not log and count by hand, they [`events`]`::X { .. }.emit()`.
//! Everything is process-wide, because a process has one `/metrics` and one standard error.
//!
//! Invariants:
//! - nothing here waits for a disk, a pipe or a reader: the access log and the event log drop and count when their queue is full;
//! - every label set is bounded: past the bound a series is called `other`;
//! - `Authorization`, `Cookie` and `Set-Cookie` have no field to be written into, and values matched in them are
//!   masked; so is whatever has a secret name in a query ([`mask`]).
#![forbid(unsafe_code)]

pub mod access;
pub mod event_log;
pub mod events;
pub mod kept;
mod lines;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod ring;
pub mod rules;
pub mod spans;
mod throttle;
