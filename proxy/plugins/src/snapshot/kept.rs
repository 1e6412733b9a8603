//! What the host has of a plugin when its configuration is over, and what therefore belongs to its snapshot.
//!
//! The memory of a clone names patterns, metrics and queues by the numbers it got for them while it was configured. In the
//! process that made the snapshot they are there; one that finds it on disk makes them anew from this, in the same order.

use crate::native::Source;
use crate::vm::Vm;
use serde::{Deserialize, Serialize};

/// Everything outside of its memory that a configured instance relies on.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Native patterns, by number.
    pub(crate) patterns: Vec<Source>,
    /// Metrics, by number.
    pub(crate) metrics: Vec<Metric>,
    /// Shared data of the root context.
    pub(crate) data: Vec<Datum>,
    /// Names of queues of the root context, by number.
    pub(crate) queues: Vec<Vec<u8>>,
    /// Period of ticks; 0 without.
    pub(crate) tick_ms: u32,
    /// The last context id that was used.
    pub(crate) last_context: u32,
    /// Linear memory, in bytes.
    pub(crate) memory: u64,
    /// How long it took to make the snapshot, in milliseconds.
    pub(crate) built_ms: u64,
}

/// A metric and what it has counted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) kind: i32,
    pub(crate) name: String,
    pub(crate) value: u64,
    /// Observations of a histogram.
    pub(crate) count: i64,
}

/// A value, and the number by which it may be replaced.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Datum {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) cas: u32,
}

impl Kept {
    /// What this plugin has; the error says what no snapshot can carry.
    pub(super) fn of(vm: &Vm, last_context: u32, memory: u64) -> Result<Self, String> {
        Ok(Self {
            patterns: vm.patterns.sources(),
            metrics: vm.metrics.kept(),
            data: vm
                .data
                .kept()
                .ok_or("it stored shared data for a site while it was configured")?,
            queues: vm
                .queues
                .kept()
                .ok_or("it put items into a queue while it was configured")?,
            tick_ms: vm.tick_ms(),
            last_context,
            memory,
            built_ms: 0,
        })
    }

    /// Gives it to a plugin that has nothing yet; `false` if it does not come out as it was.
    pub(super) fn restore(&self, vm: &Vm) -> bool {
        vm.set_tick(self.tick_ms);
        vm.patterns.restore(&self.patterns)
            && vm.metrics.restore(&self.metrics)
            && vm.data.restore(&self.data)
            && vm.queues.restore(&self.queues)
    }
}
