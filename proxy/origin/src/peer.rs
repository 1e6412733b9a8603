//! The options of a connection to a server, worked out once per address instead of once per request.

use crate::Error;
use aegis_settings::model;
use pingora_core::protocols::tls::CaType;
use pingora_core::tls::x509::X509;
use pingora_core::upstreams::peer::HttpPeer;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

/// Key shares offered to an origin, best first. Pingora alone would not offer the post-quantum one.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";

/// The certificate authorities of one pool.
#[derive(Clone)]
pub(crate) struct Authorities {
    list: Arc<CaType>,
    /// Pingora's connection pool does not look at the authorities; this keeps pools with different ones apart.
    pub(crate) hash: u64,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities")
            .field("count", &self.list.len())
            .finish()
    }
}

impl Authorities {
    /// Reads `tls.ca` of a pool; `None` means the system's authorities.
    pub(crate) fn read(pool: &model::Pool) -> Result<Option<Self>, Error> {
        let Some(path) = pool.tls.as_ref().and_then(|tls| tls.ca.as_ref()) else {
            return Ok(None);
        };
        let pem = std::fs::read(path).map_err(|source| Error::CaUnreadable {
            pool: pool.name.clone(),
            path: path.clone(),
            source,
        })?;
        let list = X509::stack_from_pem(&pem).unwrap_or_default();
        if list.is_empty() {
            return Err(Error::CaEmpty {
                pool: pool.name.clone(),
                path: path.clone(),
            });
        }
        let mut hasher = DefaultHasher::new();
        pem.hash(&mut hasher);
        Ok(Some(Self {
            list: Arc::new(list.into_boxed_slice()),
            hash: hasher.finish(),
        }))
    }
}

/// The peer for one address of `host`.
pub(crate) fn build(
    pool: &model::Pool,
    ca: Option<&Authorities>,
    host: &str,
    address: SocketAddr,
) -> HttpPeer {
    let sni = match &pool.tls {
        Some(tls) => tls.name.as_deref().unwrap_or(host).to_owned(),
        None => String::new(),
    };
    let mut peer = HttpPeer::new(address, pool.tls.is_some(), sni);
    let options = &mut peer.options;
    options.connection_timeout = Some(pool.connect_timeout);
    options.total_connection_timeout = Some(pool.connect_timeout);
    options.read_timeout = Some(pool.read_timeout);
    options.write_timeout = Some(pool.write_timeout);
    options.idle_timeout = Some(pool.keepalive);
    if let Some(tls) = &pool.tls {
        options.verify_cert = tls.verify;
        options.verify_hostname = tls.verify;
        options.curves = Some(GROUPS.into());
        options.ca = ca.map(|ca| Arc::clone(&ca.list));
        peer.group_key = ca.map_or(0, |ca| ca.hash);
    }
    peer
}
