//! The pools of one configuration.

use crate::probe::Prober;
use crate::resolve::{Resolve, System};
use crate::{Error, Pool};
use aegis_settings::model;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Pools by name.
#[derive(Debug, Clone)]
pub struct PoolSet {
    pools: BTreeMap<String, Arc<Pool>>,
    resolver: Arc<dyn Resolve>,
    prober: Arc<Prober>,
}

impl Default for PoolSet {
    fn default() -> Self {
        Self {
            pools: BTreeMap::new(),
            resolver: Arc::new(System),
            prober: Arc::default(),
        }
    }
}

impl PoolSet {
    /// Builds the pools of a configuration and starts their look-ups and health checks on `runtime`.
    ///
    /// Pools of `previous` whose settings (and CA file) did not change are taken over as they are; the others inherit
    /// the addresses and the health of the servers they have in common. If building fails, nothing was started and
    /// `previous` goes on unharmed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn build(
        pools: &BTreeMap<String, Arc<model::Pool>>,
        previous: Option<&Self>,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let mut next = Self {
            pools: BTreeMap::new(),
            ..previous.cloned().unwrap_or_default()
        };
        for (name, settings) in pools {
            let old = previous.and_then(|previous| previous.pools.get(name));
            let pool = match old {
                Some(old) if old.is_same(settings) => Arc::clone(old),
                old => Pool::build(settings, old.map(AsRef::as_ref))?,
            };
            next.pools.insert(name.clone(), pool);
        }
        for (name, pool) in &next.pools {
            pool.start(runtime, &next.resolver, &next.prober);
            let before = previous
                .and_then(|previous| previous.get(name))
                .map(|old| old.endpoints());
            pool.show(before.as_deref());
        }
        for gone in previous
            .into_iter()
            .flat_map(Self::iter)
            .filter(|old| next.get(old.name()).is_none())
        {
            gone.endpoints().iter().for_each(|endpoint| endpoint.hide());
        }
        Ok(next)
    }

    /// The pool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Pool>> {
        self.pools.get(name).map(Arc::clone)
    }

    /// All pools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values()
    }

    /// Waits until every name of every pool was looked up once, at most `longest`. For a start or a swap: so that the
    /// first request finds an address. A resolver that is down delays it, nothing more.
    pub async fn settle(&self, longest: Duration) {
        let all = async {
            for pool in self.pools.values() {
                pool.settle().await;
            }
        };
        // Too late is as good as done.
        let _late = tokio::time::timeout(longest, all).await;
    }

    #[cfg(test)]
    pub(crate) fn with_resolver(resolver: Arc<dyn Resolve>) -> Self {
        Self {
            resolver,
            ..Self::default()
        }
    }
}
