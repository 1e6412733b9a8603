//! What happens, as values: `emit` writes the log line **and** moves the counter, so the two cannot drift apart.
//!
//! Events that a client can cause are throttled in the log (never in the counter).

use crate::lines::Kind;
use crate::metrics::{self, LimitMetrics, SiteMetrics, WafVerdict};
use crate::ring;
use crate::throttle::Throttle;
use std::path::Path;
use tracing::{error, info, warn};

mod verdicts;

pub use verdicts::{AdminWrite, BanMade, BanRefused, RequestBanned, StoreFailed};

/// Lines a second of one kind of event that clients can cause.
const LINES: u32 = 10;

/// Settings were refused; if there were others in force, they stay.
#[derive(Debug)]
pub struct ConfigRejected<'a> {
    /// The file.
    pub path: &'a Path,
    /// Every problem, rendered.
    pub problems: &'a [String],
}

impl ConfigRejected<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        metrics::CONFIG_REJECTED.inc();
        error!(
            path = %self.path.display(),
            problems = self.problems.len(),
            "settings refused: {}",
            self.problems.join("; ")
        );
    }
}

/// Settings went live.
#[derive(Debug)]
pub struct ConfigLive<'a> {
    /// Their id.
    pub id: &'a str,
    /// Where they came from.
    pub source: &'a str,
}

impl ConfigLive<'_> {
    /// Logs, counts and moves `aegis_config_info`.
    pub fn emit(self) {
        metrics::CONFIG_APPLIED.inc();
        metrics::set_config_id(self.id);
        info!(id = self.id, source = self.source, "settings are live");
    }
}

/// A plugin failed while it looked at a request, or at its configuration.
#[derive(Debug)]
pub struct PluginFault<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// `trap`, `deadline`, `memory`, `stack`, `queue_full`, `queue_wait`, `exit`, `abi`, `refused`.
    pub kind: &'static str,
    /// What is known of it.
    pub detail: &'a str,
}

impl PluginFault<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        metrics::PLUGIN_FAULTS.with(&[self.plugin, self.kind]).inc();
        if THROTTLE.admit() {
            warn!(
                plugin = self.plugin,
                kind = self.kind,
                detail = self.detail,
                "plugin fault"
            );
        }
    }
}

/// The WAF had something to say about a request.
#[derive(Debug)]
pub struct WafEvent<'a> {
    /// The site's counters.
    pub site: &'a SiteMetrics,
    /// What it said.
    pub verdict: WafVerdict,
    /// For the ring.
    pub entry: ring::Entry,
}

impl WafEvent<'_> {
    /// Logs, counts and keeps the event in the ring.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        self.site.waf(self.verdict);
        metrics::SECURITY_EVENTS.inc();
        for rule in self.entry.rules.iter().take(ring::RULES_MAX) {
            let mut digits = itoa::Buffer::new();
            metrics::WAF_RULE_HITS.with(&[digits.format(rule.id)]).inc();
        }
        if THROTTLE.admit() {
            info!(
                request = self.entry.request_id,
                site = self.entry.site,
                client = self.entry.client,
                verdict = self.verdict.as_str(),
                rule = self.entry.heaviest().next().map(|rule| rule.id),
                "waf"
            );
        }
        ring::keep(self.entry);
    }
}

/// A server no longer takes part.
#[derive(Debug)]
pub struct OriginDown<'a> {
    /// Its pool.
    pub pool: &'a str,
    /// The server.
    pub server: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl OriginDown<'_> {
    /// Logs and sets the gauge.
    pub fn emit(self) {
        metrics::ORIGIN_HEALTHY
            .with(&[self.pool, self.server])
            .set(0);
        warn!(
            pool = self.pool,
            server = self.server,
            reason = self.reason,
            "origin server is left out"
        );
    }
}

/// A server takes part (again).
#[derive(Debug)]
pub struct OriginUp<'a> {
    /// Its pool.
    pub pool: &'a str,
    /// The server.
    pub server: &'a str,
}

impl OriginUp<'_> {
    /// Logs and sets the gauge.
    pub fn emit(self) {
        metrics::ORIGIN_HEALTHY
            .with(&[self.pool, self.server])
            .set(1);
        info!(
            pool = self.pool,
            server = self.server,
            "origin server takes part"
        );
    }
}

/// A certificate needs a look.
#[derive(Debug)]
pub struct CertificateProblem<'a> {
    /// Its file or name.
    pub name: &'a str,
    /// What is wrong, and the remedy.
    pub problem: &'a str,
}

impl CertificateProblem<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        metrics::LIMIT_HITS.with(&["certificate"]).inc();
        warn!(certificate = self.name, "{}", self.problem);
    }
}

/// A certificate, an authority or a revocation list is in force though its time is over, or has not come.
#[derive(Debug)]
pub struct CertificateOutOfTime<'a> {
    /// The key of the settings.
    pub name: &'a str,
    /// What is wrong, and the remedy.
    pub problem: &'a str,
}

impl CertificateOutOfTime<'_> {
    /// Logs, loudly; `aegis_certificates_out_of_time` shows how many there are.
    pub fn emit(self) {
        error!(
            certificate = self.name,
            "SERVED ALL THE SAME: {}", self.problem
        );
    }
}

/// A connection was closed before a request could be read.
#[derive(Debug)]
pub struct ConnectionRefused {
    /// `cap`, `handshake`, `handshake_timeout`, …
    pub reason: &'static str,
}

impl ConnectionRefused {
    /// Counts; the access log has the line, as long as they are few.
    pub fn emit(self) {
        metrics::CONNECTIONS_REFUSED.with(&[self.reason]).inc();
    }
}

/// What a client sent is no request that can be served.
#[derive(Debug)]
pub struct RequestRefused {
    /// The word of the reason: `host_missing`, `chunk_size`, …
    pub reason: &'static str,
}

impl RequestRefused {
    /// Counts; the access log has the line.
    pub fn emit(self) {
        metrics::REQUESTS_REFUSED.with(&[self.reason]).inc();
    }
}

/// A connection was cut because of what its client does with it.
#[derive(Debug)]
pub struct ConnectionCut {
    /// `h2_reset_flood`, `h2_ping_flood`, …
    pub reason: &'static str,
}

impl ConnectionCut {
    /// Counts; the access log has the line.
    pub fn emit(self) {
        metrics::CONNECTIONS_CUT.with(&[self.reason]).inc();
    }
}

/// A request was refused by a limit, or would have been.
#[derive(Debug)]
pub struct LimitExceeded<'a> {
    /// The limit's counters.
    pub limit: &'a LimitMetrics,
    /// It only watches.
    pub dry_run: bool,
    /// For the ring: there on the first refusal of a client in a window.
    pub first: Option<ring::Entry>,
}

impl LimitExceeded<'_> {
    /// Counts; logs and keeps in the ring what is the first.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        self.limit.refused(self.dry_run);
        let Some(entry) = self.first else { return };
        metrics::SECURITY_EVENTS.inc();
        if THROTTLE.admit() {
            info!(
                request = entry.request_id,
                site = entry.site,
                client = entry.client,
                limit = self.limit.name(),
                dry_run = self.dry_run,
                "limit exceeded"
            );
        }
        ring::keep(entry);
    }
}

/// A bound was hit.
#[derive(Debug)]
pub struct LimitHit {
    /// The key that sets it: `node.bodies_held_max`.
    pub what: &'static str,
}

impl LimitHit {
    /// Logs and counts.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(LINES);
        metrics::LIMIT_HITS.with(&[self.what]).inc();
        if THROTTLE.admit() {
            warn!(limit = self.what, "a bound was hit");
        }
    }
}

/// A request body cannot be kept on disk.
#[derive(Debug)]
pub struct SpoolFailed<'a> {
    /// Why.
    pub error: &'a std::io::Error,
    /// Where.
    pub dir: &'a Path,
}

impl SpoolFailed<'_> {
    /// Logs and counts.
    pub fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(1);
        metrics::SPOOL_ERRORS.inc();
        if THROTTLE.admit() {
            let dir = self.dir.display();
            error!(error = %self.error, %dir, "request bodies cannot be kept on disk; those that should be get 503");
        }
    }
}

/// A log of lines cannot be written.
#[derive(Debug)]
pub(crate) struct LogFailed<'a> {
    pub(crate) kind: Kind,
    pub(crate) error: &'a std::io::Error,
    pub(crate) lines: u64,
}

impl LogFailed<'_> {
    pub(crate) fn emit(self) {
        static THROTTLE: Throttle = Throttle::new(1);
        self.kind.dropped().inc_by(self.lines);
        if THROTTLE.admit() {
            error!(log = self.kind.name(), error = %self.error, lines = self.lines, "the log cannot be written; lines are lost");
        }
    }
}
