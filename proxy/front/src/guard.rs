//! The guard: judges every byte a client sends before Pingora sees it.
//!
//! For HTTP/1 ([`Machine`], RFC 9110 and 9112) it takes one message after the other out of the stream and lets through
//! only what all servers read in the same way: the head whole or not at all, the body as its one framing says. What it
//! refuses is a [`Reject`](aegis_identity::Reject). For HTTP/2 ([`Frames`], RFC 9113) it counts frames that cost more
//! than they bring and follows which streams are open; what is in them is the business of the `h2` crate.
//!
//! Invariants:
//! - no byte of a head reaches Pingora before its last one was found good;
//! - no byte of the next request reaches Pingora before it asks for the next request;
//! - a body that is refused never looks finished: its last chunk is held until all that follows it is good;
//! - bytes that are no HTTP pass only after the status 101 went out, for which the guard watches what is written;
//! - the same bytes get the same verdict, however they are cut into reads;
//! - the verdict needs no clock, no I/O, and no memory but what is held of a head that came in pieces;
//! - what a client keeps us waiting for, head, body or the taking of an answer, has an end.

mod bytes;
mod chunked;
mod ending;
mod field;
mod frame;
mod frames;
mod head;
mod http1;
mod http2;
mod message;
mod status;
mod streams;
mod target;
mod wait;

#[cfg(test)]
mod tests;

use crate::pace::Pace;
use crate::seats::Seat;
use aegis_identity::{Alpn, Connection, Refuse};
use std::sync::Arc;
use std::time::Duration;

pub use frames::{Flood, Frames};
pub(crate) use http1::Http1;
pub(crate) use http2::Http2;
pub use message::{Machine, Step};

/// All bytes of a head. Cookies of a browser are at most a few KiB; Pingora itself would take 1 MiB.
pub(crate) const HEAD_MAX: usize = 64 * 1024;
/// The target. Browsers send up to some 8 KiB without complaint; longer ones are mistakes.
pub(crate) const TARGET_MAX: usize = 16 * 1024;
/// One field line. Kerberos tickets in `Authorization` are the longest that are meant.
pub(crate) const FIELD_MAX: usize = 32 * 1024;
/// Fields of a head; browsers send about twenty, chains of proxies some forty.
pub(crate) const FIELDS_MAX: usize = 100;
/// A method; the longest registered one has 17 bytes.
pub(crate) const METHOD_MAX: usize = 64;
/// Extensions of one chunk, and of all chunks of a body. No known client sends any.
pub(crate) const EXTENSION_MAX: usize = 256;
pub(crate) const EXTENSIONS_MAX: usize = 16 * 1024;
/// The last chunk and its trailers, which are held and then dropped by Pingora.
pub(crate) const TRAILERS_MAX: usize = 16 * 1024;

/// What watches a stream.
#[derive(Debug, Default)]
pub(crate) enum Guard {
    /// Nothing.
    #[default]
    Off,
    /// The whole of HTTP/1.
    Http1(Box<Http1>),
    /// The frames of HTTP/2.
    Http2(Box<Http2>),
}

/// How long clients may take; of all connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The whole of a head, from its first bytes.
    pub(crate) head_timeout: Duration,
    /// The whole of a body.
    pub(crate) body_timeout: Duration,
    /// What clients send of a body.
    pub(crate) receive: Pace,
    /// What clients take of an answer.
    pub(crate) send: Pace,
}

/// Tells the door whether a connection has anything to do.
#[derive(Debug)]
pub(crate) struct Rest {
    seat: Arc<Seat>,
    rests: bool,
}

impl Rest {
    /// Of a connection that rests in this place.
    pub(crate) const fn in_seat(seat: Arc<Seat>) -> Self {
        Self { seat, rests: true }
    }

    /// It rests, or is at work.
    pub(crate) fn set(&mut self, rests: bool) {
        if self.rests == rests {
            return;
        }
        self.rests = rests;
        if rests {
            self.seat.rest();
        } else {
            self.seat.work();
        }
    }
}

impl Guard {
    /// The one for a connection, by what TLS agreed on.
    pub(crate) fn of(
        connection: &Arc<Connection>,
        refuse: Arc<dyn Refuse>,
        limits: Arc<Limits>,
        rest: Rest,
    ) -> Self {
        let connection = Arc::clone(connection);
        if connection.tls.as_ref().and_then(|tls| tls.alpn) == Some(Alpn::H2) {
            Self::Http2(Box::new(Http2::new(connection, refuse, limits, rest)))
        } else {
            Self::Http1(Box::new(Http1::new(connection, refuse, limits, rest)))
        }
    }

    /// Whether there are streams of HTTP/2 that are not at their end.
    pub(crate) fn has_open_streams(&self) -> bool {
        matches!(self, Self::Http2(guard) if guard.has_open_streams())
    }

    /// Sees what was written.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        match self {
            Self::Off => {}
            Self::Http1(guard) => guard.wrote(bytes),
            Self::Http2(guard) => guard.wrote(bytes),
        }
    }
}
