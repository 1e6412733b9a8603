//! The door: sockets, connection caps, TLS; hands clean streams to whatever app stands behind it.
//!
//! The sockets are ours because Pingora's listeners are fixed at its start, and so that what a client sends can be
//! judged before Pingora parses it. From the socket up a stream is
//!
//! - [`Conn`]: the TCP socket, on TLS connections with a read-ahead, since BoringSSL asks for five bytes at a time;
//! - Pingora's `SslStream<Conn>` on TLS listeners;
//! - [`Wire`]: gathers writes until a flush, bounds how long a client may refuse to read, and carries the
//!   [`Connection`](aegis_identity::Connection) that all requests of it share;
//! - the [`guard`] in it sees all plain bytes before the app does, and refuses what is not one unambiguous request.
//!
//! Invariants:
//! - every connection is a task that the [`Door`] owns: when [`Bound::run`] returns or is dropped, none is left;
//! - the set of listeners changes while it serves ([`Listeners`]): all of a change or nothing of it, and a connection
//!   outlives whatever happens to its listener by the grace;
//! - every wait for a client has an end: ClientHello, handshake, first byte, head, body, bytes it does not take, farewell;
//!   none of them begins anew because a byte came;
//! - who has no request may have to go: for its age, for its idle time, or for a new connection when all places are taken;
//! - nothing a client does is in the process log above debug; it is counted by reason, and what ends a connection without
//!   an answer is told to the app, which writes a line of it.
#![forbid(unsafe_code)]

mod accept;
mod addresses;
mod bind;
mod conn;
mod door;
mod ending;
pub mod guard;
mod listeners;
mod pace;
mod proxied;
mod refusal;
mod seats;
mod serve;
mod tls;
mod wire;

pub use bind::BindError;
pub use conn::{Conn, Transport};
pub use door::{Bound, Door, DoorConfig, Drained};
pub use listeners::{Change, Listeners};
pub use wire::Wire;
