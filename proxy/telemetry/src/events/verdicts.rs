//! Bans: made, refused, and acted upon; and what operators changed.

use super::LINES;
use crate::log;
use crate::metrics;
use crate::ring;
use crate::throttle::Throttle;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{error, info, warn};

/// A request of a banned client was refused.
#[derive(Debug)]
pub struct RequestBanned<F> {
    /// The first one of its ban.
    pub first: bool,
    /// Makes the event for the ring.
    pub entry: F,
}

impl<F: FnOnce() -> ring::Entry> RequestBanned<F> {
    /// Counts; logs and keeps in the ring the first of each ban and a few of the others: who is banned must not be able to
    /// push all other events out of the ring.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        metrics::REQUESTS_BANNED.inc();
        if !THROTTLE.admit() && !self.first {
            return;
        }
        let entry = (self.entry)();
        metrics::SECURITY_EVENTS.inc();
        info!(
            request = entry.request_id,
            site = entry.site,
            client = entry.client,
            "banned client refused"
        );
        ring::keep(entry);
    }
}

/// A rule made a ban.
#[derive(Debug)]
pub struct BanMade<'a> {
    /// The rule.
    pub rule: &'a str,
    /// Whom it bans.
    pub prefix: &'a str,
    /// Where; `None` = on every site.
    pub site: Option<&'a str>,
    /// For how long.
    pub seconds: u64,
    /// The request that was one too many.
    pub request: &'a str,
    /// Another ban had to go for it.
    pub evicted: bool,
}

impl BanMade<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        metrics::VERDICTS_MADE.with(&[self.rule, "made"]).inc();
        if self.evicted {
            metrics::VERDICTS_EVICTED.inc();
        }
        if THROTTLE.admit() {
            info!(
                rule = self.rule,
                prefix = self.prefix,
                site = self.site.unwrap_or("all"),
                seconds = self.seconds,
                request = self.request,
                "banned by rule"
            );
        }
    }
}

/// A rule wanted a ban that may not be.
#[derive(Debug)]
pub struct BanRefused<'a, E> {
    /// The rule.
    pub rule: &'a str,
    /// Whom it wanted to ban.
    pub prefix: &'a str,
    /// Why not.
    pub why: &'a E,
}

impl<E: Display> BanRefused<'_, E> {
    /// Logs and counts.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(1);
        metrics::VERDICTS_MADE.with(&[self.rule, "refused"]).inc();
        if THROTTLE.admit() {
            warn!(
                rule = self.rule,
                prefix = self.prefix,
                "a rule's ban was not made: {}",
                self.why
            );
        }
    }
}

/// Verdicts cannot be kept on disk.
#[derive(Debug)]
pub struct StoreFailed<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// `opened`, `written`.
    pub what: &'static str,
    /// Why.
    pub error: &'a io::Error,
}

impl StoreFailed<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        metrics::VERDICTS_STORE_ERRORS.inc();
        error!(
            dir = %self.dir.display(),
            error = %self.error,
            "bans and allows cannot be {}; they hold, but a restart may forget the newest",
            self.what
        );
    }
}

/// Somebody changed something on the admin socket, or tried to.
#[derive(Debug)]
pub struct AdminWrite<'a> {
    /// `ban`, `allow`, `unban`.
    pub what: &'static str,
    /// Who: a token's name, or a user of this machine.
    pub who: &'a str,
    /// The process at the other end.
    pub process: Option<i32>,
    /// What exactly, in a sentence.
    pub detail: &'a str,
    /// `done`, `refused` (it cannot be), `denied` (he may not).
    pub result: &'static str,
    /// Why not.
    pub why: &'a str,
}

impl AdminWrite<'_> {
    /// Logs, counts and keeps in the ring. What somebody who may asked is always logged; what was denied is throttled, since anybody who
    /// may open the socket can cause it.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        metrics::ADMIN_WRITES.with(&[self.what, self.result]).inc();
        if self.result == "denied" && !THROTTLE.admit() {
            return;
        }
        // As fields, which are quoted: what was asked for holds text of whoever asked.
        info!(
            target: log::AUDIT,
            audit = self.what,
            who = self.who,
            process = self.process,
            result = self.result,
            detail = self.detail,
            why = self.why,
            "change on the admin socket"
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_ms = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        ring::keep(ring::Entry {
            request_id: format!("audit-{time_ms}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            time_ms,
            client: self.who.to_owned(),
            method: "POST".to_owned(),
            host: "admin".to_owned(),
            target: format!("/{}", self.what),
            plugin: "admin".to_owned(),
            mode: self.result.to_owned(),
            action: "audit".to_owned(),
            rules: vec![ring::Rule {
                message: self.detail.to_owned(),
                value: self.why.to_owned(),
                ..ring::Rule::default()
            }],
            ..ring::Entry::default()
        });
    }
}
