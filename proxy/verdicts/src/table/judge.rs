//! The question every connection and every request asks.

use super::Table;
use crate::entry::Entry;
use crate::{Kind, Millis, Prefix, Scope, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A connection, about its socket's peer: only what [`Verdict::may_go_lower`] holds.
    Connection,
    /// A request, about its client, for this site.
    Request {
        /** Its name. */
        site: &'a str,
    },
}

/// The verdict that holds.
#[derive(Clone)]
pub struct Ruling(pub(super) Arc<Entry>);

impl Table {
    /// The verdict that holds for an address now, if any does. Takes no lock.
    pub fn judge(&self, address: IpAddr, asked: Asked<'_>, now: Millis) -> Option<Ruling> {
        let index = self.index.get()?;
        let whole = Prefix::from(address);
        let mut best: Option<Arc<Entry>> = None;
        for length in index.lengths.of(&whole) {
            index.shards.each(&whole.cut(length), |entry| {
                if entry.holds_at(now)
                    && asked.concerns(entry)
                    && best
                        .as_ref()
                        .is_none_or(|best| entry.weight() > best.weight())
                {
                    best = Some(Arc::clone(entry));
                }
            });
            // Lengths come longest first: nothing beats the operator's verdict found first.
            if best.as_ref().is_some_and(|best| best.by_operator()) {
                break;
            }
        }
        best.map(Ruling)
    }
}

impl Ruling {
    /// In or out.
    pub fn kind(&self) -> Kind {
        self.0.cause.kind
    }

    /// Counts that it was acted upon; whether that was the first time.
    pub fn count_hit(&self) -> bool {
        self.0.hit() == 0
    }

    /// All of it, for a log line or a page.
    pub fn verdict(&self) -> Verdict {
        self.0.verdict()
    }
}

impl Asked<'_> {
    fn concerns(self, entry: &Entry) -> bool {
        match (&entry.cause.scope, self) {
            (Scope::Node, Asked::Connection) => !entry.l7_only,
            (Scope::Node, Asked::Request { .. }) => true,
            // Who may use a site has to come in first.
            (Scope::Site(_), Asked::Connection) => {
                entry.cause.kind == Kind::Allow && entry.by_operator()
            }
            (Scope::Site(there), Asked::Request { site }) => **there == *site,
        }
    }
}
