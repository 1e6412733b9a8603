//! Which failed tries are repeated.
//!
//! - Nothing was sent (no connection): any method, at another server if there is one. Another address of the same server
//!   does not count against `retries`: it is the same server.
//! - A reused connection turned out to be closed: once, not counted, for methods that may be repeated.
//! - The connection broke before a byte of the response: methods that may be repeated (RFC 9110 §9.2.2), as long as the
//!   whole body is still at hand (64 KiB).
//! - Never after a time-out (the origin may be at work on it), and never after a byte of the response.

use crate::ctx::OriginCtx;
use aegis_origin::Pool;
use std::net::SocketAddr;

/// Tries Pingora would make in all; ours are counted here, this is only the end of its loop.
pub(crate) const TRIES_MAX: usize = 40;

/// What is known when a try on a connection failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    /// The connection had served other requests before.
    pub(crate) reused: bool,
    /// It broke (and did not time out, nor speak nonsense).
    pub(crate) closed: bool,
    /// Bytes of the response have come.
    pub(crate) answered: bool,
    /// The method may be repeated.
    pub(crate) idempotent: bool,
    /// The whole body is at hand.
    pub(crate) body_at_hand: bool,
}

impl OriginCtx {
    /// A connect to `address` of `server` failed: try again?
    pub(crate) fn after_no_connection(
        &mut self,
        pool: &Pool,
        server: &str,
        address: SocketAddr,
    ) -> bool {
        self.tried.push(address);
        pool.has_other_address(server, &self.tried) || self.counted(pool.settings().retries)
    }

    /// A request on a connection failed: try again?
    pub(crate) fn after_break(
        &mut self,
        broken: Broken,
        address: SocketAddr,
        retries: u32,
    ) -> bool {
        if !broken.closed || broken.answered || !broken.idempotent || !broken.body_at_hand {
            return false;
        }
        if broken.reused && !std::mem::replace(&mut self.stale_connection, true) {
            return true;
        }
        self.tried.push(address);
        self.counted(retries)
    }

    fn counted(&mut self, retries: u32) -> bool {
        let more = self.retries < retries && self.tried.len() < TRIES_MAX - 1;
        self.retries = self.retries.saturating_add(1);
        more
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, OriginCtx};

    const BROKEN: Broken = Broken {
        reused: false,
        closed: true,
        answered: false,
        idempotent: true,
        body_at_hand: true,
    };

    fn tries(broken: Broken, retries: u32) -> usize {
        let mut ctx = OriginCtx::default();
        let address = "192.0.2.1:80".parse().expect("an address");
        (1..)
            .find(|_| !ctx.after_break(broken, address, retries))
            .expect("it ends")
    }

    #[test]
    fn further_tries_are_counted() {
        assert_eq!(tries(BROKEN, 0), 1);
        assert_eq!(tries(BROKEN, 1), 2);
        assert_eq!(tries(BROKEN, 3), 4);
    }

    #[test]
    fn a_closed_idle_connection_is_no_try_of_the_server() {
        let reused = Broken {
            reused: true,
            ..BROKEN
        };
        assert_eq!(tries(reused, 0), 2);
        assert_eq!(tries(reused, 1), 3);
    }

    #[test]
    fn what_cannot_be_repeated_is_not() {
        for broken in [
            Broken {
                closed: false,
                ..BROKEN
            },
            Broken {
                answered: true,
                ..BROKEN
            },
            Broken {
                idempotent: false,
                ..BROKEN
            },
            Broken {
                body_at_hand: false,
                ..BROKEN
            },
        ] {
            assert_eq!(
                tries(
                    Broken {
                        reused: true,
                        ..broken
                    },
                    9
                ),
                1,
                "{broken:?}"
            );
        }
    }
}
