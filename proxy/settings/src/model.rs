//! The settings as written, after parsing and checking: every field has its value or its default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Format of this file; `1`.
    pub version: u32,
    /// What belongs to this machine.
    pub node: Node,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Certificates for all TLS listeners, chosen by SNI.
    pub certificates: Vec<Certificate>,
    /// Named sets of settings for sites and routes.
    pub profiles: Profiles,
    /// Named groups of origin servers.
    pub pools: BTreeMap<String, Pool>,
    /// proxy-wasm modules.
    pub plugins: BTreeMap<String, Plugin>,
    /// The sites this node answers for.
    pub sites: Vec<Site>,
}

/// `node:`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where certificates, compiled modules and the last good settings are kept.
    pub state_dir: PathBuf,
    /// Worker threads; 0 = one a core.
    pub workers: usize,
    /// Administration.
    pub admin: Admin,
    /// Access and process log.
    pub log: Log,
    /// Connections from clients.
    pub client: Client,
    /// Cache storage.
    pub cache: NodeCache,
    /// The plugin pool.
    pub plugins: PluginPool,
    /// All request bodies held back for a verdict, in bytes (default 256 MiB).
    pub bodies_held_max: u64,
    /// How a stop goes.
    pub shutdown: Shutdown,
}

/// `node.admin:`
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// Unix socket; default `<state_dir>/admin.sock`.
    pub socket: PathBuf,
    /// Address of `/metrics`, `/livez`, `/readyz` (loopback only); default 127.0.0.1:9901.
    pub metrics: SocketAddr,
}

/// `node.log:`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Access log format (default `json`).
    pub access: AccessFormat,
    /// Access log target: `stdout` or a file path (default stdout).
    pub access_path: LogTarget,
    /// Process log level (default info).
    pub level: Level,
}

/// Access log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /** One JSON object a line. */
    Json,
    /** NCSA combined. */
    Combined,
    /** None. */
    Off,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /** Standard output. */
    Stdout,
    /** Appended to. */
    File(PathBuf),
}

/// Process log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /** */
    Error,
    /** */
    Warn,
    /** */
    Info,
    /** */
    Debug,
}

/// `node.client:` connections from clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Whole time for the TLS handshake (default 10 s).
    pub handshake_timeout: Duration,
    /// Longest wait for the bytes of a request head or body (default 60 s).
    pub read_timeout: Duration,
    /// Longest wait for a client to take bytes of a response (default 60 s).
    pub write_timeout: Duration,
    /// A connection without a request is closed after this (default 75 s; h1 and h2).
    pub idle_timeout: Duration,
    /// Open connections in all (default 20,000).
    pub connections_max: usize,
    /// Concurrent streams of an h2 connection (default 128).
    pub h2_streams_max: u32,
}

/// `node.cache:`
#[derive(Debug, Clone, PartialEq)]
pub struct NodeCache {
    /// Bytes of memory for cached answers (default 256 MiB).
    pub memory: u64,
}

/// `node.plugins:`
#[derive(Debug, Clone, PartialEq)]
pub struct PluginPool {
    /// Threads; 0 = max(1, cores − 1).
    pub threads: usize,
    /// Jobs waiting for a thread (default 1,024).
    pub queue_max: usize,
    /// Longest wait for a thread (default 100 ms).
    pub wait_max: Duration,
}

/// `node.shutdown:`
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// Time for requests in flight after SIGTERM (default 25 s).
    pub grace: Duration,
}

/// One of `listeners:`
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// `ip:port`.
    pub address: SocketAddr,
    /// TLS; absent = plain HTTP.
    pub tls: Option<ListenerTls>,
}

/// `listeners[].tls:`
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// Oldest version (default 1.2).
    pub min_version: TlsVersion,
    /// Offer HTTP/2 (default true).
    pub http2: bool,
}

/// TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /** 1.2 */
    V1_2,
    /** 1.3 */
    V1_3,
}

/// One of `certificates:`
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// PEM file with the chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key: `file:PATH` or `env:NAME`.
    pub key: Secret,
}

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /** A file. */
    File(PathBuf),
    /** An environment variable. */
    Env(String),
}

/// `profiles:`; overlays are kept as parsed and resolved into [`crate::resolved`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profiles {
    /// Names of the WAF profiles.
    pub waf: Vec<String>,
    /// Names of the cache profiles.
    pub cache: Vec<String>,
}

/// One of `pools:`
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The pool's name; for `origin: URL` the URL.
    pub name: String,
    /// Origin servers, `host:port`; at least one.
    pub servers: Vec<String>,
    /// TLS to the origin; absent = plain.
    pub tls: Option<OriginTls>,
    /// Active health checks; absent = none.
    pub health: Option<Health>,
    /// Connect (default 3 s).
    pub connect_timeout: Duration,
    /// First byte of the response and every later read (default 60 s).
    pub read_timeout: Duration,
    /// Every write (default 60 s).
    pub write_timeout: Duration,
    /// Keep an unused connection (default 60 s; 0 = no keep-alive).
    pub keepalive: Duration,
    /// Further tries of a request that may be repeated (default 1).
    pub retries: u32,
}

/// `pools.*.tls:`
#[derive(Debug, Clone, PartialEq)]
pub struct OriginTls {
    /// Name for SNI and verification (default: the server's host).
    pub name: Option<String>,
    /// Verify the certificate (default true).
    pub verify: bool,
    /// PEM file of the authorities (default: the system's).
    pub ca: Option<PathBuf>,
}

/// `pools.*.health:`
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Path of the probe (default `/`).
    pub path: String,
    /// Host header of the probe (default: the server's).
    pub host: Option<String>,
    /// Time between two probes (default 5 s).
    pub interval: Duration,
    /// Time for one (default 2 s).
    pub timeout: Duration,
    /// Failures before a server is left out (default 2).
    pub unhealthy: u32,
    /// Successes before it is back (default 2).
    pub healthy: u32,
}

/// One of `plugins:`
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// The `.wasm` file.
    pub module: PathBuf,
    /// Given to the module at configure (a string, handed over as it is).
    pub config: String,
    /// Stage (default `before_origin`).
    pub stage: PluginStage,
    /// What a failure means for the request (default `deny`).
    pub on_error: OnError,
    /// Memory of one instance (default 64 MiB).
    pub memory_max: u64,
    /// CPU time for one call (default 20 ms).
    pub deadline: Duration,
    /// More of it for every KiB of body (default 1 ms).
    pub deadline_per_kib: Duration,
    /// Pools it may call by `proxy_http_call` (default none).
    pub http_call: Vec<String>,
    /// Show it the responses (default `off`).
    pub inspect_response: Inspect,
    /// Longest request body it is shown; more is refused with 413 (default 1 MiB).
    pub body_max: u64,
}

/// When a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginStage {
    /** Before the cache. */
    BeforeCache,
    /** Only when the origin is asked. */
    BeforeOrigin,
}

/// What a failing plugin means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /** The request goes on. */
    Allow,
    /** 503. */
    Deny,
}

/// What of a response a plugin sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspect {
    /** Nothing. */
    Off,
    /** Status and headers. */
    Headers,
    /** And the body. */
    Body,
}

/// One of `sites:` as written; what counts for a request is in [`crate::resolved`].
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Host names; `*.example.com` covers one label; `*` covers every host.
    pub hosts: Vec<String>,
}
