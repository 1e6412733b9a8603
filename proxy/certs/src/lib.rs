//! Certificates: read, checked, chosen by server name, swapped while handshakes go on.
//!
//! [`CertStore`] is immutable and complete: whatever a handshake needs was parsed and built when it was loaded, so a
//! handshake takes a reference and nothing is read, parsed or allocated in it. [`Certificates`] holds the store in
//! force; a new one counts from the next handshake on.
//!
//! Invariants:
//! - loading refuses what a client would refuse (expired, not yet valid, key of another certificate) and says which
//!   file, why, and what to do; a store that is in force goes on serving what has expired since;
//! - files are read up to a bound, private keys never reach a log or an error's text;
//! - with TLS listeners and no certificates there is a self-signed one, made once and kept.
#![forbid(unsafe_code)]

mod coverage;
mod error;
mod key;
mod live;
mod name;
mod policy;
mod read;
mod self_signed;
mod store;
#[cfg(test)]
mod testing;

pub use coverage::{UncoveredHost, uncovered_hosts};
pub use error::{CertError, CertProblem, Severity};
pub use key::{CertifiedKey, KeyKind};
pub use live::Certificates;
pub use name::CertName;
pub use policy::{Protocols, apply_policy};
pub use store::{CertStore, Offer};
