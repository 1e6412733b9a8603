//! Where a request goes: host and path → site → route → pool → one server.
//!
//! - [`Table`] finds the site and the route. Looking up allocates nothing.
//! - [`PoolSet`] owns the pools of one configuration; a pool whose settings did not change is handed on to the next one
//!   with its health and its resolved addresses.
//! - [`Pool::pick`] chooses a server: round robin over the healthy ones, over all of them when none is (better a try than
//!   a certain failure).
//!
//! **Invariant:** a request never waits for DNS or for a health check; both run in tasks that end with their pool.
//!
//! **Invariant:** a name that no longer resolves keeps its last addresses.
//!
//! Limits: [`ADDRESSES_MAX`] addresses a name, [`PROBES_MAX`] health checks at a time in a pool.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod endpoint;
mod error;
mod health;
mod host;
mod path;
mod peer;
mod pool;
mod probe;
mod resolve;
mod set;
mod table;

pub use endpoint::Endpoint;
pub use error::{Error, Fault};
pub use host::normalize as normalize_host;
pub use pool::{Pick, PickError, Pool, ServerView};
pub use probe::PROBES_MAX;
pub use resolve::ADDRESSES_MAX;
pub use set::PoolSet;
pub use table::{RouteEntry, SiteEntry, Table};
