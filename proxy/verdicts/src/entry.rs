//! A verdict in the table: small, shared between snapshots, with its counter.

use crate::{Author, Kind, Millis, Prefix, Scope, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What many verdicts have in common is kept once: a rule makes thousands that differ in nothing of this.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Cause {
    pub(crate) kind: Kind,
    pub(crate) scope: Scope,
    pub(crate) author: Author,
    pub(crate) reason: Arc<str>,
}

/// A verdict in the table.
pub(crate) struct Entry {
    pub(crate) cause: Arc<Cause>,
    pub(crate) since: Millis,
    /// `Millis::MAX` = never.
    pub(crate) until: Millis,
    request: Request,
    /// Its place in the books.
    pub(crate) id: u32,
    pub(crate) hits: AtomicU32,
    pub(crate) prefix: Prefix,
    pub(crate) l7_only: bool,
}

/// Our own request ids are ULIDs of 26 characters, kept in place; those of a trusted hop may be anything.
enum Request {
    None,
    Ulid([u8; 26]),
    Other(Box<str>),
}

impl Entry {
    pub(crate) fn new(verdict: Verdict, cause: Arc<Cause>, id: u32) -> Self {
        Self {
            cause,
            since: verdict.since,
            until: verdict.until.unwrap_or(Millis::MAX),
            request: match verdict.request {
                None => Request::None,
                Some(text) => match text.as_bytes().try_into() {
                    Ok(ulid) => Request::Ulid(ulid),
                    Err(_) => Request::Other(text),
                },
            },
            id,
            hits: AtomicU32::new(verdict.hits),
            prefix: verdict.prefix,
            l7_only: verdict.l7_only,
        }
    }

    pub(crate) fn holds_at(&self, now: Millis) -> bool {
        self.until > now
    }

    pub(crate) fn by_operator(&self) -> bool {
        self.cause.author.is_operator()
    }

    /// What decides between verdicts: see the crate's documentation.
    pub(crate) fn weight(&self) -> (bool, u8, bool) {
        (
            self.by_operator(),
            self.prefix.length(),
            self.cause.kind == Kind::Allow,
        )
    }

    /// One more; gives how many there were before.
    pub(crate) fn hit(&self) -> u32 {
        // Stays at its maximum, near enough: threads that race there may each add one.
        let hits = self.hits.load(Ordering::Relaxed);
        if hits < u32::MAX - 1024 {
            return self.hits.fetch_add(1, Ordering::Relaxed);
        }
        hits
    }

    pub(crate) fn verdict(&self) -> Verdict {
        Verdict {
            kind: self.cause.kind,
            prefix: self.prefix,
            scope: self.cause.scope.clone(),
            author: self.cause.author.clone(),
            reason: Arc::clone(&self.cause.reason),
            request: match &self.request {
                Request::None => None,
                Request::Ulid(ulid) => std::str::from_utf8(ulid).ok().map(Into::into),
                Request::Other(text) => Some(text.clone()),
            },
            since: self.since,
            until: (self.until != Millis::MAX).then_some(self.until),
            l7_only: self.l7_only,
            hits: self.hits.load(Ordering::Relaxed),
        }
    }
}
