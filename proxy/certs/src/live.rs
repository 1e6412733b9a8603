//! The store in force.

use crate::store::CertStore;
use aegis_telemetry::metrics::CERTIFICATE_EXPIRY;
use arc_swap::{ArcSwap, Guard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Holds the store in force; a new one counts from the next handshake on, those under way keep what they chose.
#[derive(Debug)]
pub struct Certificates {
    store: ArcSwap<CertStore>,
}

impl Certificates {
    /// Puts the first store into force.
    #[must_use]
    pub fn new(store: CertStore) -> Self {
        show(&store);
        Self {
            store: ArcSwap::from_pointee(store),
        }
    }

    /// Puts a new store into force.
    pub fn swap(&self, store: CertStore) {
        show(&store);
        self.store.store(Arc::new(store));
    }

    /// The store in force. Cheap; not to be kept across an `await`.
    #[must_use]
    pub fn current(&self) -> Guard<Arc<CertStore>> {
        self.store.load()
    }
}

/// Moves `aegis_certificate_expiry_seconds`: of several certificates of one name the first to end counts.
fn show(store: &CertStore) {
    let mut ends: HashMap<String, i64> = HashMap::new();
    for key in store.keys() {
        let end = key
            .not_after()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        ends.entry(key.title())
            .and_modify(|first| *first = end.min(*first))
            .or_insert(end);
    }
    CERTIFICATE_EXPIRY.clear();
    for (name, end) in ends {
        CERTIFICATE_EXPIRY.with(&[&name]).set(end);
    }
}
