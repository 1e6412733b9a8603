//! What a plugin is, and the plain facts of a request and a response it is asked about.

use aegis_settings::model;
pub use aegis_settings::model::Inspect;
use bytes::Bytes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A list of header fields in order, names in the case they were received in.
pub type Fields = Vec<(Bytes, Bytes)>;

/// A module with its configuration and its bounds. Two equal specs over equal module bytes are one running plugin.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its name in settings, logs and metrics; also its `plugin_name` and VM id.
    pub name: String,
    /// The `.wasm` file.
    pub module: PathBuf,
    /// Plugin configuration, handed over as it is.
    pub config: Bytes,
    /// Linear memory of one instance, in bytes.
    pub memory_max: u64,
    /// CPU time of one job: all callbacks of a request, or of a response.
    pub deadline: Duration,
    /// More of it for each KiB of body.
    pub deadline_per_kib: Duration,
    /// Never more than this for a body of any length, unless `deadline` alone is; [`crate::limits::JOB_CPU_MAX`] is a
    /// good value.
    pub deadline_max: Duration,
    /// Call stack of the guest, in bytes; at most [`crate::limits::STACK_MAX`].
    pub stack_max: usize,
    /// Pools it may call by `proxy_http_call`.
    pub http_call: Vec<String>,
    /// What of a response it sees; anything but `Off` keeps the context open after the request's verdict.
    pub inspect: Inspect,
    /// Longest body it may be handed or may make, in bytes.
    pub body_max: u64,
    /// How its instances live.
    pub instances: Instances,
}

/// How the instances of a plugin live.
#[derive(Debug, Clone, Default)]
pub enum Instances {
    /// Each is configured by itself and serves until it has grown too much or has failed.
    #[default]
    Shared,
    /// Each is a copy of one that was configured, and serves so many requests.
    ///
    /// A module that cannot be copied is configured anew for each instance; [`crate::Report`] says so.
    Recycled {
        /// Requests one instance serves; with 1, nothing but that request and its response is ever open in it.
        requests: u32,
        /// The module is shown plain requests of several kinds before the copy is made, with these properties. Only for a
        /// module that neither tells anybody of requests nor remembers them.
        warm_up: Option<Arc<Properties>>,
    },
}

impl Instances {
    /// Requests one instance serves.
    pub(crate) fn requests(&self) -> Option<u32> {
        match self {
            Self::Shared => None,
            Self::Recycled { requests, .. } => Some((*requests).max(1)),
        }
    }
}

impl PluginSpec {
    /// The spec of a plugin in the settings.
    #[must_use]
    pub fn from_settings(plugin: &model::Plugin) -> Self {
        Self {
            name: plugin.name.clone(),
            module: plugin.module.clone(),
            config: Bytes::copy_from_slice(plugin.config.as_bytes()),
            memory_max: plugin.memory_max,
            deadline: plugin.deadline,
            deadline_per_kib: plugin.deadline_per_kib,
            deadline_max: crate::limits::JOB_CPU_MAX,
            stack_max: crate::limits::STACK_DEFAULT,
            http_call: plugin.http_call.clone(),
            inspect: plugin.inspect_response,
            body_max: plugin.body_max,
            instances: match plugin.instances {
                model::PluginInstances::Shared => Instances::Shared,
                // No two plugins ever share an instance, of whatever module they are, so that both are the same here.
                model::PluginInstances::PerRequest | model::PluginInstances::PerFilter => {
                    Instances::Recycled {
                        requests: 1,
                        warm_up: None,
                    }
                }
            },
        }
    }
}

/// A request as received. The module sees `:method`, `:path`, `:scheme`, `:authority`, then `headers` (with `Host`,
/// if there was one).
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// `GET`
    pub method: Bytes,
    /// The raw request target.
    pub target: Bytes,
    /// `http` or `https`.
    pub scheme: Bytes,
    /// `Host` or `:authority`.
    pub authority: Bytes,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub version: Bytes,
    /// Header fields in received order and case.
    pub headers: Fields,
    /// The client.
    pub source: SocketAddr,
    /// Our side of the connection.
    pub destination: SocketAddr,
    /// The request id.
    pub request_id: Bytes,
    /// When the head was read.
    pub received: SystemTime,
    /// `TLSv1.3`; absent on plain connections.
    pub tls_version: Option<Bytes>,
    /// The name the client asked for in TLS.
    pub sni: Option<Bytes>,
    /// Fingerprint of the client's TLS (JA4); absent on plain connections.
    pub ja4: Option<Bytes>,
    /// The certificate the client showed, if its site asked for one.
    pub client_cert: Option<ClientCert>,
}

/// A client's certificate.
#[derive(Debug, Clone)]
pub struct ClientCert {
    /// `CN=anna,O=Example` (RFC 4514).
    pub subject: Bytes,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: Bytes,
}

/// The head of a response; the module sees `:status`, then `headers`.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// Header fields in the origin's order.
    pub headers: Fields,
    /// No body follows.
    pub end: bool,
}

/// What of a body is there when the verdict is asked for.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// The request has none.
    #[default]
    None,
    /// All of it.
    Whole(Vec<Bytes>),
    /// Its beginning; the rest follows through [`crate::OpenContext::request_body`].
    Part(Vec<Bytes>),
}

/// Values a module may ask for besides the request itself.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    /// The site's name: `aegis.site`, and the key of fairness and of shared data.
    pub site: Arc<str>,
    /// `aegis.waf_policy_id` (u64, little endian) and `aegis.waf_policy` (JSON).
    pub waf_policy: Option<(u64, Bytes)>,
    /// Further properties, path segments joined by `.`.
    pub extra: Vec<(String, Bytes)>,
}
