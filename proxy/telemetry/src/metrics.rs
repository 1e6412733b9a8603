//! Prometheus metrics of the process.
//!
//! Hot paths hold pre-resolved handles ([`SiteMetrics`], [`PoolMetrics`], the enums here), so that a request pays an
//! atomic addition and no look-up. [`Family`] is for what is rare: it looks up by label and bounds the label sets.

mod family;
mod limit;
mod process;
mod site;
mod sum;

pub use family::{Family, GaugeFamily};
pub use limit::LimitMetrics;
pub use site::{PoolMetrics, SITES_MAX, SiteMetrics, WafVerdict, pool, site};
pub use sum::{request_seconds, total};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder,
};
use std::sync::LazyLock;

pub(crate) static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Registers once; a name used twice is a programming error that the test of [`render`] finds.
pub(crate) fn registered<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    #[expect(
        clippy::expect_used,
        reason = "names and buckets are constants of this crate; a test renders all of them"
    )]
    let metric = made.expect("constant metric definition");
    if let Err(error) = REGISTRY.register(Box::new(metric.clone())) {
        tracing::error!(%error, "a metric is defined twice");
    }
    metric
}

fn counter(name: &str, help: &str) -> IntCounter {
    registered(IntCounter::new(name, help))
}

fn gauge(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::new(name, help))
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    registered(Histogram::with_opts(
        HistogramOpts::new(name, help).buckets(buckets.to_vec()),
    ))
}

const REQUEST_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
const WAIT_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
];

/// Defines statics and one function that touches all of them, so that a series exists before its first event.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $make:expr;)*) => {
        $($(#[$doc])* pub static $name: LazyLock<$kind> = LazyLock::new(|| $make);)*
        fn touch_all() { $(LazyLock::force(&$name);)* }
    };
}

metrics! {
    /// Time from the first byte of a request to the last of its answer.
    REQUEST_SECONDS: Histogram = histogram("aegis_request_duration_seconds", "Time from the request's head to the end of its answer", REQUEST_BUCKETS);
    /// Connections from clients that are open now.
    CONNECTIONS_OPEN: IntGauge = gauge("aegis_connections_open", "Open connections from clients");
    /// Connections accepted since the start.
    CONNECTIONS_ACCEPTED: IntCounter = counter("aegis_connections_accepted_total", "Connections accepted from clients");
    /// Connections that were told to end because of their age.
    CONNECTIONS_AGED: IntCounter = counter("aegis_connections_aged_total", "Connections told to end because of their age");
    /// Connections closed after a time without a request.
    CONNECTIONS_CLOSED_IDLE: IntCounter = counter("aegis_connections_closed_idle_total", "Connections closed after a time without a request");
    /// Connections closed before a request: `cap`, `handshake`, `handshake_timeout`, …
    CONNECTIONS_REFUSED: Family = Family::new("aegis_connections_refused_total", "Connections closed before a request could be read", &["reason"], 64);
    /// Connections cut in their midst: `h2_reset_flood`, `h2_ping_flood`, …
    CONNECTIONS_CUT: Family = Family::new("aegis_connections_cut_total", "Connections cut because of what their client did", &["reason"], 64);
    /// Handshakes that were completed, by version, and whether a session was resumed: `yes`, `no`.
    TLS_HANDSHAKES: Family = Family::new("aegis_tls_handshakes_total", "TLS handshakes completed with clients", &["version", "resumed"], 16);
    /// Requests refused before they could be read: `host_missing`, `chunk_size`, …
    REQUESTS_REFUSED: Family = Family::new("aegis_requests_refused_total", "Requests refused because they are not HTTP, or not in one way only", &["reason"], 64);
    /// Streams (`rst_stream`) and connections (`goaway`) of HTTP/2 that we ended, by the error code of RFC 9113 §7.
    HTTP2_ENDED: Family = Family::new("aegis_http2_ended_total", "Frames sent that end a stream or a connection of HTTP/2", &["frame", "code"], 40);
    /// Spans that reached no collector: `queue`, `collector`.
    SPANS_DROPPED: Family = Family::new("aegis_spans_dropped_total", "Spans lost because too many waited, or the collector did not take them", &["reason"], 2);
    /// Spans that a collector took.
    SPANS_EXPORTED: IntCounter = counter("aegis_spans_exported_total", "Spans that the collector took");
    /// Requests of which less was believed than trusted proxies said: `disagree`, `unreadable`, `too_many_hops`.
    FORWARDED_DOUBTED: Family = Family::new("aegis_forwarded_doubted_total", "Requests whose X-Forwarded-For or Forwarded was not believed to its end", &["reason"], 4);
    /// Verdicts of the cache, see [`CacheResult`].
    CACHE_REQUESTS: Family = Family::new("aegis_cache_requests_total", "Requests by what the cache had to say", &["result"], 32);
    /// Bytes of stored answers in memory.
    CACHE_BYTES: IntGauge = gauge("aegis_cache_memory_bytes", "Bytes of stored answers in memory");
    /// Stored answers in memory.
    CACHE_OBJECTS: IntGauge = gauge("aegis_cache_objects", "Stored answers in memory");
    /// Stored answers dropped to make room.
    CACHE_EVICTIONS: IntCounter = counter("aegis_cache_evictions_total", "Stored answers dropped to make room");
    /// Rules that took part in a block or a detection, at most 1,024 different ones.
    WAF_RULE_HITS: Family = Family::new("aegis_waf_rule_hits_total", "Rules that took part in a block or a detection", &["rule"], 1024);
    /// Faults of plugins by kind: `trap`, `deadline`, `memory`, `stack`, `queue_full`, …
    PLUGIN_FAULTS: Family = Family::new("aegis_plugin_faults_total", "Faults of plugins", &["plugin", "kind"], 1024);
    /// Jobs done by the plugin pool.
    PLUGIN_JOBS: Family = Family::new("aegis_plugin_jobs_total", "Jobs done by the plugin pool", &["plugin"], 256);
    /// CPU time spent in plugins, in microseconds.
    PLUGIN_CPU_MICROS: Family = Family::new("aegis_plugin_cpu_microseconds_total", "CPU time spent in plugins", &["plugin"], 256);
    /// Time a job waited for a thread of the pool.
    PLUGIN_QUEUE_WAIT: Histogram = histogram("aegis_plugin_queue_wait_seconds", "Time a plugin job waited for a thread", WAIT_BUCKETS);
    /// Jobs waiting now.
    PLUGIN_QUEUE_LENGTH: IntGauge = gauge("aegis_plugin_queue_length", "Plugin jobs waiting for a thread");
    /// Instances by plugin.
    PLUGIN_INSTANCES: GaugeFamily = GaugeFamily::new("aegis_plugin_instances", "Live instances of a plugin", &["plugin"], 256);
    /// Linear memory of a plugin's instances.
    PLUGIN_MEMORY: GaugeFamily = GaugeFamily::new("aegis_plugin_memory_bytes", "Linear memory of a plugin's instances", &["plugin"], 256);
    /// What plugins measure themselves (`proxy_define_metric`).
    PLUGIN_METRIC: GaugeFamily = GaugeFamily::new("aegis_plugin_metric", "Metrics defined by plugins", &["plugin", "name"], 4096);
    /// Instances that ended: `fault`, `memory`.
    PLUGIN_RETIRED: Family = Family::new("aegis_plugin_instances_ended_total", "Instances of a plugin that ended", &["plugin", "reason"], 1024);
    /// Requests that were open in an instance when another request's fault ended it.
    PLUGIN_CONTEXTS_LOST: Family = Family::new("aegis_plugin_contexts_lost_total", "Requests that were open in an instance when a fault ended it", &["plugin"], 256);
    /// Log lines of plugins past their rate.
    PLUGIN_LOG_DROPPED: Family = Family::new("aegis_plugin_log_dropped_total", "Log lines of plugins past their rate", &["plugin"], 256);
    /// Compiled modules: `compiled`, `cached`, or `rejected` (a file in the cache that is not ours).
    PLUGIN_MODULES: Family = Family::new("aegis_plugin_modules_total", "Modules made ready, by where the machine code came from", &["result"], 8);
    /// Requests sent to origins: `ok` or a fault's name.
    ORIGIN_REQUESTS: Family = Family::new("aegis_origin_requests_total", "Requests sent to origins", &["pool", "result"], 4096);
    /// 1 while a server takes part, 0 while it is left out.
    ORIGIN_HEALTHY: GaugeFamily = GaugeFamily::new("aegis_origin_healthy", "1 while a server takes part in its pool", &["pool", "server"], 4096);
    /// Unix time at which a certificate ends.
    CERTIFICATE_EXPIRY: GaugeFamily = GaugeFamily::new("aegis_certificate_expiry_seconds", "Unix time at which a certificate ends", &["name"], 1024);
    /// Certificates, authorities and revocation lists that are served though their time is over or has not come.
    CERTIFICATES_OUT_OF_TIME: IntGauge = gauge("aegis_certificates_out_of_time", "Certificates, authorities and revocation lists in force whose time is over or has not come");
    /// Settings that were refused.
    CONFIG_REJECTED: IntCounter = counter("aegis_config_rejected_total", "Settings that were refused");
    /// Settings that went live.
    CONFIG_APPLIED: IntCounter = counter("aegis_config_applied_total", "Settings that went live");
    /// 1 for the settings in force.
    CONFIG_INFO: GaugeFamily = GaugeFamily::new("aegis_config_info", "The settings in force", &["id"], 4);
    /// Bounds that were hit, by the key that sets them.
    LIMIT_HITS: Family = Family::new("aegis_limit_hits_total", "Bounds that were hit", &["limit"], 256);
    /// Requests refused by limits, by site and name of the limit.
    LIMITS_REFUSED: Family = Family::new("aegis_limits_refused_total", "Requests refused by a limit", &["site", "limit"], 4096);
    /// Requests that limits on a dry run would have refused.
    LIMITS_WOULD_REFUSE: Family = Family::new("aegis_limits_would_refuse_total", "Requests a limit on a dry run would have refused", &["site", "limit"], 4096);
    /// Counts in the table of limits that can still matter.
    LIMITS_ENTRIES: IntGauge = gauge("aegis_limits_entries", "Counts of limits that can still matter");
    /// Counts of limits that were forgotten too soon: `counting`, or `refused` ones.
    LIMITS_EVICTED: Family = Family::new("aegis_limits_evicted_total", "Counts of limits forgotten to make room while they could still matter", &["state"], 4);
    /// Requests that no limit could count.
    LIMITS_UNCOUNTED: IntCounter = counter("aegis_limits_uncounted_total", "Requests let through because a limit had no place to count them");
    /// Access log lines lost because the queue was full or the target refused them.
    ACCESS_LOG_DROPPED: IntCounter = counter("aegis_access_log_dropped_total", "Access log lines lost");
    /// Lines of the event log lost because the queue was full or the target refused them.
    EVENT_LOG_DROPPED: IntCounter = counter("aegis_event_log_dropped_total", "Event log lines lost");
    /// Security events that were not written to disk because the queue was full or the disk refused them.
    EVENTS_KEPT_DROPPED: IntCounter = counter("aegis_events_kept_dropped_total", "Security events a restart will not remember");
    /// Log lines held back because an event came too often.
    LOG_SUPPRESSED: IntCounter = counter("aegis_log_suppressed_total", "Log lines held back because one event came too often");
    /// Bytes of request bodies held for a verdict.
    BODIES_HELD: IntGauge = gauge("aegis_bodies_held_bytes", "Bytes of request bodies held for a verdict");
    /// Bytes of request bodies on disk.
    BODIES_SPOOLED: IntGauge = gauge("aegis_bodies_spooled_bytes", "Bytes of request bodies on disk for a verdict");
    /// Failures to write or read request bodies on disk.
    SPOOL_ERRORS: IntCounter = counter("aegis_spool_errors_total", "Failures to keep request bodies on disk");
    /// Bans and allows in the table.
    VERDICTS: IntGauge = gauge("aegis_verdicts", "Bans and allows kept");
    /// Bans and allows made or wanted, by who made them (a rule, `operator`) and what became of it: `made`, `refused`.
    VERDICTS_MADE: Family = Family::new("aegis_verdicts_made_total", "Bans and allows made or refused, by author", &["author", "result"], 128);
    /// Rules' bans that ended early because the table was full.
    VERDICTS_EVICTED: IntCounter = counter("aegis_verdicts_evicted_total", "Bans of rules that ended early because the table was full");
    /// Requests refused because their client is banned.
    REQUESTS_BANNED: IntCounter = counter("aegis_requests_banned_total", "Requests refused because their client is banned");
    /// Failures to keep verdicts on disk.
    VERDICTS_STORE_ERRORS: IntCounter = counter("aegis_verdicts_store_errors_total", "Failures to keep verdicts on disk");
    /// Changes asked for on the admin socket, by what and what became of it: `done`, `refused`, `denied`.
    ADMIN_WRITES: Family = Family::new("aegis_admin_writes_total", "Changes asked for on the admin socket", &["what", "result"], 64);
    /// Events written to the ring.
    SECURITY_EVENTS: IntCounter = counter("aegis_security_events_total", "Security events written to the ring");
    /// 1 from readiness to the start of the drain.
    READY: IntGauge = gauge("aegis_ready", "1 while the node answers requests");
}

/// What the cache had to say about a request; the words of RFC 9211 where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /** A stored, fresh answer. */
    Hit,
    /** A stored answer past its time, allowed by `stale-*`. */
    Stale,
    /** Nothing stored. */
    Miss,
    /** The origin confirmed a stored answer. */
    Revalidated,
    /** Not asked: the request or the route says so. */
    Bypass,
    /** Known as not storable. */
    Pass,
    /** The cache itself failed. */
    Error,
}

static CACHE: LazyLock<[IntCounter; 7]> = LazyLock::new(|| {
    use CacheResult::{Bypass, Error, Hit, Miss, Pass, Revalidated, Stale};
    [Hit, Stale, Miss, Revalidated, Bypass, Pass, Error]
        .map(|result| CACHE_REQUESTS.with(&[result.as_str()]))
});

impl CacheResult {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Revalidated => "revalidated",
            Self::Bypass => "bypass",
            Self::Pass => "pass",
            Self::Error => "error",
        }
    }

    /// Counts one request.
    pub fn count(self) {
        CACHE[self as usize].inc();
    }
}

/// Says which settings are in force; the former id's series goes away.
pub fn set_config_id(id: &str) {
    CONFIG_INFO.clear();
    CONFIG_INFO.with(&[id]).set(1);
}

/// All metrics in the Prometheus text format 0.0.4.
#[must_use]
pub fn render() -> String {
    touch_all();
    LazyLock::force(&CACHE);
    site::touch();
    process::refresh();
    let mut text = Vec::with_capacity(16 * 1024);
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut text) {
        tracing::error!(%error, "metrics cannot be rendered");
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_defined_once_and_rendered() {
        CONNECTIONS_REFUSED.with(&["cap"]).inc();
        CacheResult::Hit.count();
        let text = render();
        for name in [
            "aegis_request_duration_seconds_bucket",
            "aegis_connections_open ",
            "aegis_connections_refused_total{reason=\"cap\"} ",
            "aegis_cache_requests_total{result=\"hit\"} ",
            "aegis_access_log_dropped_total ",
            "aegis_config_rejected_total ",
            "aegis_bodies_held_bytes ",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn only_the_settings_in_force_have_an_info_series() {
        set_config_id("aaaa");
        set_config_id("bbbb");
        let text = render();
        assert!(text.contains("aegis_config_info{id=\"bbbb\"} 1"));
        assert!(!text.contains("aaaa"));
    }
}
