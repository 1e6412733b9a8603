//! The life of a request: the ordered stages ([`order`]), Pingora's hooks that lead through them, and the one table from
//! fault to page.
//!
//! - [`service`] makes the application that front runs for each connection.
//! - [`Live`] is what it serves by; the control side swaps [`Snapshot`]s into it.
//!
//! **Invariant:** a request holds one snapshot from its first stage to its log line.
//!
//! **Invariant:** whatever ends a request early, its answer comes out of [`fault::Fault`] and [`page::Page`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod answer;
mod app;
mod cache;
mod calls;
mod connections;
mod ctx;
mod facts;
pub mod fault;
mod gate;
mod h2;
mod head;
mod hearsay;
mod incoming;
mod inspect;
mod lent;
mod limits;
mod live;
mod methods;
mod order;
pub mod page;
mod proxy;
mod refusal;
mod retry;
mod snapshot;
mod spans;
mod upstream;
mod verdicts;
pub mod waf;

pub use app::{App, service};
pub use cache::Cache;
pub use calls::Calls;
pub use ctx::Ctx;
pub use inspect::event::late as late_event;
pub use inspect::plan::{Missing, Named, Plugins};
pub use limits::{Limits, LimitsUse};
pub use live::Live;
pub use snapshot::{NodeParts, Snapshot, SnapshotError};
pub use spans::Tracer;
