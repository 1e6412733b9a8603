//! The control plane of one node: where settings come from, how they become live, and what a person can ask.
//!
//! A change goes read → check → compile → probe → swap. Any step may refuse it: then the settings in force stay, the
//! refusal is counted, logged and shown in `/status`. What went live is kept as *last known good*, with every file it
//! refers to, and a node whose settings are bad or gone starts from that.
//!
//! **Invariant:** this crate knows the data plane through [`DataPlane`], [`Questions`] and [`Orders`] only; nothing a request waits
//! for runs here, so a stuck disk or a long compilation never touches one.
//!
//! Threads: one for reloads, at most one that prepares, one of `notify`; the admin servers run where
//! [`Servers::run`] is awaited.
#![forbid(unsafe_code)]

mod admin;
mod boot;
mod error;
pub mod lkg;
mod load;
mod orders;
mod plane;
mod reload;
mod state;
mod tokens;
mod watch;

pub use admin::{Ask, Servers};
pub use boot::{Boot, From, boot};
pub use error::ControlError;
pub use orders::{Order, Orders, Put, Refused, Wanted};
pub use plane::{Copies, DataPlane, Progress, Questions, Rejection};
pub use reload::{Controller, Plan};

pub use state::{Phase, State, rfc3339};
pub use tokens::{TokenProblem, Tokens};
