//! What people ask: why an address is turned away, and what there is.

use super::{Asked, Table};
use crate::{Millis, Prefix, Scope, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// One verdict that covers an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether it is the one that holds: on its site, or on every site without one of its own.
    pub holds: bool,
}

impl Table {
    /// The most verdicts [`Table::why`] tells.
    pub const WHY_MAX: usize = 64;

    /// The verdicts that cover an address now, the weightiest first. The first that holds is the answer to "why".
    pub fn why(&self, address: IpAddr, now: Millis) -> Vec<Covering> {
        let Some(index) = self.index.get() else {
            return Vec::new();
        };
        let whole = Prefix::from(address);
        let mut covering = Vec::new();
        for length in index.lengths.of(&whole) {
            index.shards.each(&whole.cut(length), |entry| {
                if entry.holds_at(now) {
                    covering.push(Arc::clone(entry));
                }
            });
        }
        covering.sort_by_key(|entry| (std::cmp::Reverse(entry.weight()), entry.id));
        covering.truncate(Self::WHY_MAX);
        let holds = |entry: &Arc<_>, scope: &Scope| {
            // No site has an empty name: what is left is the node's.
            let site = match scope {
                Scope::Node => "",
                Scope::Site(site) => site,
            };
            self.judge(address, Asked::Request { site }, now)
                .is_some_and(|ruling| Arc::ptr_eq(&ruling.0, entry))
        };
        let tell = |entry: &Arc<crate::entry::Entry>| Covering {
            verdict: entry.verdict(),
            holds: holds(entry, &entry.cause.scope),
        };
        covering.iter().map(tell).collect()
    }

    /// The verdicts on exactly this prefix, wherever they hold; ended ones too.
    pub fn on(&self, prefix: Prefix) -> Vec<Verdict> {
        let mut found = Vec::new();
        if let Some(index) = self.index.get() {
            index
                .shards
                .each(&prefix, |entry| found.push(entry.verdict()));
        }
        found
    }

    /// A page of what there is, in no order that means anything: at most `most`, and where the next page begins. What
    /// comes and goes between two pages may be missing or twice.
    pub fn list(&self, from: u32, most: usize, now: Millis) -> (Vec<Verdict>, Option<u32>) {
        let (entries, next) = self.entries_from(from, most);
        let standing = entries.iter().filter(|entry| entry.holds_at(now));
        (standing.map(|entry| entry.verdict()).collect(), next)
    }
}
