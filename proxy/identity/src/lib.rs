//! Who is asking: the connection a request came over and the id it is known by.
//!
//! Plain facts, and why bytes of a client are refused, without sockets or libraries of TLS and HTTP, so every room can hold them. Time and randomness are
//! arguments; only [`RequestId::generate`] asks the system for both.
//!
//! Invariant: an address here is canonical. A client that came over IPv4 to a dual-stack socket has an IPv4 address, so
//! that it has one spelling in logs, limits and headers.
#![forbid(unsafe_code)]

mod address;
mod connection;
mod hops;
mod ja4;
mod places;
mod proxy_header;
mod reject;
mod request_id;
mod trace;

pub use address::{AddressText, canonical, source};
pub use connection::{Alpn, Asked, ClientCertificate, Connection, TlsFacts};
pub use hops::{Claims, Doubt, HOPS_MAX, Hops, Told};
pub use ja4::Ja4;
pub use places::{Place, Places};
pub use proxy_header::{Behalf, ProxyHeader, ProxyHeaderError, read_proxy_header};
pub use reject::{Refuse, Reject};
pub use request_id::{RequestId, RequestIdError, given_id};
pub use trace::{TraceContext, trace_state};
