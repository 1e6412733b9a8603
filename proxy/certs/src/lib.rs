//! Certificates: read, checked, chosen by server name, swapped while handshakes go on.
//!
//! [`CertStore`] is immutable and complete: whatever a handshake needs was parsed and built when it was loaded, so a
//! handshake takes a reference and nothing is read, parsed or allocated in it. [`Certificates`] holds the store in
//! force; a new one counts from the next handshake on.
//!
//! Invariants:
//! - loading refuses what a client would refuse (expired, not yet valid, key of another certificate) and says which
//!   file, why, and what to do; what was in force before, or is there at a start, is served though its time is over, and
//!   that is said loudly ([`Times`]);
//! - keys of session tickets are in memory only and turn by time; a session of a site that asks for certificates of
//!   clients is resumed by the same rules of the same site only;
//! - files are read up to a bound, private keys never reach a log or an error's text;
//! - with TLS listeners and no certificates there is a self-signed one, made once and kept.

mod client_auth;
mod coverage;
mod error;
mod key;
mod library;
mod live;
mod name;
mod policy;
mod read;
mod self_signed;
mod sites;
mod store;
#[cfg(test)]
mod testing;
mod tickets;

pub use client_auth::ClientAuth;
pub use coverage::{UncoveredHost, uncovered_hosts};
pub use error::{CertError, CertProblem, Severity, Times};
pub use key::{CertifiedKey, KeyKind};
pub use library::shed_after_handshake;
pub use live::Certificates;
pub use name::CertName;
pub use policy::{Protocols, apply_policy};
pub use store::{CertStore, Offer};
pub use tickets::{rotate_tickets_every, turn_tickets};

use boring::x509::X509NameRef;

/// A distinguished name as text, `CN=anna,O=Example` (RFC 4514); ASCII, whatever it holds.
#[must_use]
pub fn subject(name: &X509NameRef) -> String {
    name.print_ex(boring_sys::XN_FLAG_RFC2253)
        .unwrap_or_default()
}
