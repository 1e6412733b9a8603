//! The rules of RFC 9111: may this request use the store, may this answer be kept and for how long, may that stored
//! answer be used now.
//!
//! Pure functions of heads and times. Both ways a stored answer can reach a client (straight from memory, and through
//! Pingora's cache) call the same functions, so they cannot disagree.
//!
//! Where the RFC leaves a choice, or the common practice differs, the careful side is taken:
//! - an answer with `Set-Cookie` is not stored (see [`NotStored::SetCookie`]);
//! - an answer that is stale on arrival is not stored: every request for it would wait for the one before;
//! - a request with `Authorization` gets only answers whose origin allowed sharing *expressly*, even when they were
//!   fetched without it (§3.5 speaks only of the opposite direction);
//! - `stale-while-revalidate` is not used yet and so not read.

mod freshen;
mod freshness;
mod request;
mod reuse;
mod storable;

pub use freshen::{Freshened, freshen};
pub use freshness::HEURISTIC_MAX;
pub use request::{Bypass, Request};
pub use reuse::{Reuse, reuse};
pub use storable::{NotStored, Unreadable, content_length, store, strip};

use std::time::{Duration, SystemTime};

/// What the operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Freshness where the origin gives none and no heuristic applies; zero = not stored.
    pub ttl_default: Duration,
    /// Longest body stored.
    pub object_max: u64,
}

/// What is kept of a stored answer's freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When the answer, or the 304 that confirmed it, arrived.
    pub received: SystemTime,
    /// When it would have been made, were its age at arrival spent here: age = now − born (§4.2.3).
    pub born: SystemTime,
    /// Freshness lifetime (§4.2.1, §4.2.2).
    pub lifetime: Duration,
    /// How long past its lifetime it may stand in for an origin that fails (RFC 5861 §4); zero where it is forbidden.
    pub stale_if_error: Duration,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: no client may ask for it stale (§4.2.4).
    pub stale_forbidden: bool,
    /// `public`, `must-revalidate` or `s-maxage`: may answer a request with `Authorization` (§3.5).
    pub for_authorized: bool,
}

impl Facts {
    /// Current age (§4.2.3).
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.born).unwrap_or_default()
    }

    /// `response_is_fresh` of §4.2.
    #[must_use]
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.lifetime > self.age(now)
    }

    /// Remaining lifetime in seconds, negative once stale; what `Cache-Status: ttl` shows.
    #[must_use]
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }

    /// The end of its lifetime.
    #[must_use]
    pub fn fresh_until(&self) -> SystemTime {
        self.born.checked_add(self.lifetime).unwrap_or(self.born)
    }
}
