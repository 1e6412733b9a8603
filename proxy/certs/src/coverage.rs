//! Which hosts browsers will complain about.

use crate::name::CertName;
use crate::store::CertStore;
use aegis_settings::resolved::{Site, Validated};
use std::sync::Arc;

/// A site's host that no certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncoveredHost {
    /// The site's place in the settings.
    pub site: usize,
    /// The host as written.
    pub host: String,
}

/// The hosts of the sites that no certificate of `store` covers. None if there is no TLS, or no certificate at all: the
/// self-signed one is then made for all of them.
#[must_use]
pub fn uncovered_hosts(validated: &Validated, store: &CertStore) -> Vec<UncoveredHost> {
    let tls = validated.settings.listeners.iter().any(|l| l.tls.is_some());
    if !tls || store.is_empty() {
        return Vec::new();
    }
    uncovered(&validated.sites, store)
}

pub(crate) fn uncovered(sites: &[Arc<Site>], store: &CertStore) -> Vec<UncoveredHost> {
    let mut uncovered = Vec::new();
    for site in sites {
        for host in &site.hosts {
            // `*` has no certificate; whoever comes by it sees the default one.
            if CertName::parse(host).is_some() && store.find(host).is_none() {
                uncovered.push(UncoveredHost {
                    site: site.index,
                    host: host.clone(),
                });
            }
        }
    }
    uncovered
}
