//! Whom nobody may ban by accident.

use crate::{Prefix, VerdictError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefixes a ban may not touch: loopback, and what it is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverBan(Vec<(Prefix, String)>);

impl NeverBan {
    /// Loopback and these, each with what it is ("trusted proxy", "origin", "own address").
    pub fn new(prefixes: impl IntoIterator<Item = (Prefix, String)>) -> Self {
        let loopback = [
            Prefix::from(IpAddr::V4(Ipv4Addr::LOCALHOST)).cut(8),
            Prefix::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        let loopback = loopback.map(|prefix| (prefix, "loopback".to_owned()));
        Self(loopback.into_iter().chain(prefixes).collect())
    }

    /// Whether a ban of this prefix would touch one of them.
    pub(crate) fn touches(&self, ban: Prefix) -> bool {
        self.check(ban).is_err()
    }

    /// A ban that lies in a protected prefix, or around one, is refused.
    pub(crate) fn check(&self, ban: Prefix) -> Result<(), VerdictError> {
        let touches =
            |(protected, _): &&(Prefix, String)| protected.covers(&ban) || ban.covers(protected);
        match self.0.iter().find(touches) {
            None => Ok(()),
            Some((protected, what)) => Err(VerdictError::Protected {
                ban,
                protected: *protected,
                what: what.clone(),
            }),
        }
    }
}
