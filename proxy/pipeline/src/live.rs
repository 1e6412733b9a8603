//! The configuration in force, and how it changes: one pointer, swapped.

use crate::inspect::Shared;
use crate::inspect::budget::{Budget, Gate, HELD};
use crate::inspect::spool::Disk;
use crate::snapshot::{NodeParts, Snapshot};
use crate::upstream::Origins;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use std::sync::Arc;

/// What the data plane serves by.
///
/// Until the first [`Live::ready`] every request gets 503 with `Retry-After`: nothing is served uninspected.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwapOption<Snapshot>,
    node: ArcSwap<NodeParts>,
    progress: ArcSwap<String>,
    shared: Shared,
}

impl Live {
    /// Starts without a snapshot. `workers` is the number of threads that serve.
    #[must_use]
    pub fn starting(node: NodeParts, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            shared: Shared {
                bodies: Budget::new(HELD, node.bodies_held_max),
                disk: Disk::new(node.spool_dir.clone(), node.bodies_spooled_max),
                gate: Gate::new(workers),
                workers: workers.max(1),
                origins: Origins::new(node.origin_connections_max, workers),
            },
            snapshot: ArcSwapOption::empty(),
            node: ArcSwap::from_pointee(node),
            progress: ArcSwap::default(),
        })
    }

    /// Puts a snapshot in force; requests that are under way keep theirs.
    pub fn ready(&self, snapshot: Arc<Snapshot>) {
        self.node.store(Arc::new(snapshot.node.clone()));
        self.snapshot.store(Some(snapshot));
    }

    /// What a visitor may be told while the first snapshot is prepared.
    pub fn say(&self, progress: impl Into<String>) {
        self.progress.store(Arc::new(progress.into()));
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn node(&self) -> Guard<Arc<NodeParts>> {
        self.node.load()
    }

    /// What [`Live::say`] said, if anything.
    pub(crate) fn progress(&self) -> Option<Arc<String>> {
        Some(self.progress.load_full()).filter(|progress| !progress.is_empty())
    }
}
