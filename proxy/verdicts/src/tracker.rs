//! Who did what lately, and the bans that follow from it.
//!
//! Two tables of fixed size, buckets of eight with a lock each, found by a keyed hash as nobody outside can foresee:
//! faults by rule, site and address; bans on sites by rule and address. When a bucket is full the one that can matter no
//! more goes, else the one with the fewest bans and faults, the oldest of equals: so a crowd of addresses with one fault
//! each pushes out one another, not the one about to be banned. Forgetting only ever means a ban later, or a shorter one.
//!
//! A site's faults lead to bans on that site alone. Only an address that was banned on several sites is banned on the
//! node, and since a request is for one site, no request can do that.

mod memory;

use crate::{Author, Kind, Millis, Report, Rule, Scope, Verdict, VerdictError};
use memory::{Faults, Memory, Sites};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::Arc;

/// Rules, and what they remember.
pub struct Tracker {
    rules: Box<[Rule]>,
    faults: Memory<Faults>,
    sites: Memory<Sites>,
    secret: (u64, u64),
}

impl Tracker {
    /// The most rules; a fault costs a look at each of its kind.
    pub const RULES_MAX: usize = 32;
    /// How many addresses are remembered for their faults, and as many for their bans; some 12 MB in all.
    pub const ADDRESSES: usize = 1 << 15;

    /// Rules that remember up to [`Self::ADDRESSES`] addresses each way. `secret` must be unknown to clients.
    ///
    /// # Errors
    /// [`VerdictError::TooManyRules`].
    pub fn new(rules: Vec<Rule>, secret: [u8; 16]) -> Result<Self, VerdictError> {
        if rules.len() > Self::RULES_MAX {
            return Err(VerdictError::TooManyRules(rules.len()));
        }
        let secret = u128::from_le_bytes(secret);
        Ok(Self {
            rules: rules.into_boxed_slice(),
            faults: Memory::new(Self::ADDRESSES),
            sites: Memory::new(Self::ADDRESSES),
            secret: (secret as u64, (secret >> 64) as u64),
        })
    }

    /// Counts a fault. The ban that follows from it, if one does, is for [`crate::Table::put`], which may still refuse
    /// it; of several the widest and longest.
    pub fn report(&self, report: &Report<'_>, now: Millis) -> Option<Verdict> {
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.spec.fault == report.fault);
        let bans = rules.filter_map(|rule| self.apply(rule, report, now));
        bans.max_by_key(|ban| (ban.scope == Scope::Node, ban.until))
    }

    fn apply(&self, rule: &Rule, report: &Report<'_>, now: Millis) -> Option<Verdict> {
        let group = rule.group(report.address);
        let bits = group.bits().to_le_bytes();
        // A rule is known by what it counts, so that what it remembers fits what it now says.
        let of_rule = [
            &[group.length()][..],
            &bits,
            rule.author.as_bytes(),
            &[0],
            rule.reason.as_bytes(),
        ];
        let site = report.site.unwrap_or_default().as_bytes();
        let key = self.hash(of_rule.into_iter().chain([&[0][..], site]));
        let request = self.hash([report.id.as_bytes()]).0;
        let (length, forwarded) = self.faults.with(key, now, |faults| {
            faults.forwarded |= report.forwarded;
            faults.add(request, rule, now)?;
            let ban = rule.ban(faults.bans);
            faults.banned(now, ban);
            Some((ban, std::mem::take(&mut faults.forwarded)))
        })?;
        let ban = |scope, length: Millis, reason: &Arc<str>, forwarded| Verdict {
            kind: Kind::Ban,
            prefix: group,
            scope,
            author: Author::Rule(Arc::clone(&rule.author)),
            reason: Arc::clone(reason),
            request: request_id(report.request),
            since: now,
            until: Some(now.saturating_add(length)),
            l7_only: forwarded,
            hits: 0,
        };
        let Some(site) = report.site else {
            return Some(ban(Scope::Node, length, &rule.reason, forwarded));
        };
        let on_node = rule.spec.node.and_then(|(sites, within)| {
            let site = self.hash([site.as_bytes()]).0;
            self.sites.with(self.hash(of_rule), now, |known| {
                known.forwarded |= forwarded;
                known.add(site, sites, within, now)?;
                let length = rule.ban(known.bans);
                known.banned(now, length);
                Some((length, std::mem::take(&mut known.forwarded)))
            })
        });
        match on_node {
            Some((node, forwarded)) => Some(ban(
                Scope::Node,
                node.max(length),
                &rule.reason_node,
                forwarded,
            )),
            None => Some(ban(
                Scope::Site(site.into()),
                length,
                &rule.reason,
                forwarded,
            )),
        }
    }

    fn hash<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        for part in parts {
            hasher.write(part);
        }
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

/// An id a verdict can keep: a trusted hop's may be anything.
fn request_id(id: &str) -> Option<Box<str>> {
    crate::verdict::text("request id", id, Verdict::REQUEST_MAX).ok()?;
    Some(id.into())
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
