//! What counts for a request: profile, then site, then route; nearer wins key by key.

use crate::model::{ClientAuth, Hsts, Pool, Settings};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::model::{
    BodyMode, Cache, Compressed, LimitPolicy, Limits, OverLimit, RuleTarget, Waf, WafMode,
};

/// Settings that passed every check. Only this crate's readers make one that can be trusted.
#[derive(Debug, Clone)]
pub struct Validated {
    /// As written.
    pub settings: Settings,
    /// Sites in order of the file.
    pub sites: Vec<Arc<Site>>,
    /// Pools by name, with those made from `origin: URL`.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// blake3 of the file's text and the contents of all files, first 16 hex digits: the config id people see.
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
    /// Open connections of its clients; `None` = as many as the node has.
    pub connections_max: Option<usize>,
    /// What it says about TLS.
    pub tls: SiteTls,
    /// Routes in order; the last has path `/*` and every method: it is the site's own, or the last route there is.
    pub routes: Vec<Arc<Route>>,
}

/// What a site says about TLS.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiteTls {
    /// Port of TLS that plain HTTP is redirected to.
    pub redirect: Option<u16>,
    /// `Strict-Transport-Security`.
    pub hsts: Option<Hsts>,
    /// Certificates of clients.
    pub client_auth: Option<ClientAuth>,
}

/// One route with all it inherits.
#[derive(Debug, Clone)]
pub struct Route {
    /// `sites[0].routes[1]`, or `sites[0]` for the site's own.
    pub key: String,
    /// `/exact`, or `/prefix/*`.
    pub path: String,
    /// Methods it is chosen for; empty = any.
    pub methods: Vec<String>,
    /// Methods it takes, others get 405; empty = all registered ones but CONNECT and TRACE.
    pub allowed: Vec<String>,
    /// What to do.
    pub action: Action,
    /// The WAF.
    pub waf: Waf,
    /// The cache.
    pub cache: Cache,
    /// Limits.
    pub limits: Limits,
    /// Plugins in order.
    pub plugins: Vec<String>,
    /// Where each value came from: `waf.mode` → `profiles.waf.strict (aegis.yaml:14)`, or `default`. Keys are those of
    /// `waf`, `cache` and `limits` (`limits.policies.NAME`), `methods`, `plugins`, and `action` for the origin, redirect or
    /// answer.
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
        /** Its status. */
        status: u16,
        /** Its `Content-Type`. */
        content_type: String,
        /** Its body. */
        body: String,
    },
}
