//! What counts for a request: profile → site → route, nearer wins key by key.

use crate::model::{Inspect, OnError, Pool, Settings};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings that passed every check. Only [`crate`] makes one.
#[derive(Debug, Clone)]
pub struct Validated {
    /// As written.
    pub settings: Settings,
    /// Sites in order of the file.
    pub sites: Vec<Arc<Site>>,
    /// Pools by name, with those made from `origin: URL`.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// blake3 of all files, first 16 hex digits: the config id people see.
    pub id: String,
    /// Every file the settings refer to, absolute (certificates, keys, modules, SecLang): what last known good keeps.
    pub files: Vec<PathBuf>,
}

/// One site.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its place in the file.
    pub index: usize,
    /// First host; the site's name in logs and metrics.
    pub name: String,
    /// Host patterns, lower case, without port.
    pub hosts: Vec<String>,
    /// Routes in order; the last has path `/*` and is the site's own.
    pub routes: Vec<Arc<Route>>,
}

/// One route with all it inherits.
#[derive(Debug, Clone)]
pub struct Route {
    /// `sites[0].routes[1]`, or `sites[0]` for the site's own.
    pub key: String,
    /// `/exact`, or `/prefix/*`.
    pub path: String,
    /// Methods it answers; empty = all.
    pub methods: Vec<String>,
    /// What to do.
    pub action: Action,
    /// The WAF.
    pub waf: Waf,
    /// The cache.
    pub cache: Cache,
    /// Plugins in order.
    pub plugins: Vec<String>,
    /// Where each value came from: `waf.mode` → `profiles.waf.strict (aegis.yaml:14)`.
    pub sources: BTreeMap<String, String>,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ask this pool.
    Proxy {
        /** Key of [`Validated::pools`]. */
        pool: String,
    },
    /// Answer with `Location`.
    Redirect {
        /** 301, 302, 303, 307, 308. */
        status: u16,
        /** May hold `{host}`, `{path}` (with query). */
        to: String,
    },
    /// Answer as written.
    Respond {
        /** */
        status: u16,
        /** */
        content_type: String,
        /** */
        body: String,
    },
}

/// WAF values in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Waf {
    /// block, detect or off.
    pub mode: WafMode,
    /// CRS paranoia 1–4.
    pub paranoia: u8,
    /// Inbound anomaly score that blocks (5).
    pub inbound_threshold: u32,
    /// Outbound anomaly score that blocks (4).
    pub outbound_threshold: u32,
    /// Rules switched off.
    pub exclude_rules: Vec<u32>,
    /// `942100:ARGS:comment`.
    pub exclude_targets: Vec<RuleTarget>,
    /// Own SecLang files, after the CRS.
    pub seclang: Vec<PathBuf>,
    /// Responses (default headers).
    pub inspect_response: Inspect,
    /// Text of a request body that is inspected (128 KiB).
    pub text_max: u64,
    /// Body held for a verdict (16 MiB).
    pub held_max: u64,
    /// Past either limit.
    pub over_limit: OverLimit,
    /// Requests with Content-Encoding.
    pub compressed: Compressed,
    /// Largest ratio of `decompress` (20).
    pub decompress_ratio_max: u32,
    /// Response body that is inspected (512 KiB).
    pub response_max: u64,
    /// What a failure of the sandbox means (deny).
    pub on_error: OnError,
}

/// WAF mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WafMode {
    /** Attacks get 403. */
    Block,
    /** Only written down. */
    Detect,
    /** Not run. */
    Off,
}

/// Past a body limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverLimit {
    /** 413. */
    Reject,
    /** What was judged goes on; a later block cuts the request. */
    Stream,
}

/// Compressed request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressed {
    /** 415. */
    Reject,
    /** Inspected decompressed. */
    Decompress,
}

/// A variable a rule shall not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTarget {
    /** Rule id. */
    pub rule: u32,
    /** `ARGS:comment`. */
    pub target: String,
}

/// Cache values in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// Use the cache (default true).
    pub enabled: bool,
    /// Largest object (8 MiB).
    pub object_max: u64,
    /// Freshness when the origin gives none and no heuristic applies (0 = not stored).
    pub ttl_default: Duration,
    /// Send `Cache-Status` (default true).
    pub status_header: bool,
}
