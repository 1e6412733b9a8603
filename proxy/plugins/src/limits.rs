//! Bounds of the sandbox that no setting moves, and the guard over an instance's memory and tables.

use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Largest module file: what all files that settings refer to may have together.
pub const MODULE_MAX: u64 = aegis_settings::limits::REFERENCED_BYTES_MAX;
/// Call stack of a guest when nothing else is said.
pub const STACK_DEFAULT: usize = 1 << 20;
/// Largest call stack a plugin may be given; threads that run guests have twice as much.
pub const STACK_MAX: usize = 4 << 20;
/// Native stack of a thread that runs guests.
pub(crate) const THREAD_STACK: usize = 2 * STACK_MAX;
/// Longest CPU time of one job, whatever the length of its body, unless its plugin's `deadline` alone is longer: a thread
/// of the pool is everybody's.
pub const JOB_CPU_MAX: Duration = Duration::from_secs(5);
/// CPU time for start and configure together.
pub const CONFIGURE_MAX: Duration = Duration::from_secs(30);
/// Entries in all tables of an instance; Go puts every function into one.
pub(crate) const TABLE_MAX: usize = 200_000;
/// Tables of an instance.
pub(crate) const TABLES_MAX: u32 = 8;
/// Contexts open in one instance.
pub const CONTEXTS_MAX: usize = 64;
/// An instance that grew by this much since configure retires.
pub(crate) const GROWTH_MAX: usize = 64 << 20;
/// One that is a copy of a snapshot retires sooner: its successor costs next to nothing.
pub(crate) const COPY_GROWTH_MAX: usize = 48 << 20;
/// A retired instance is ended after this, with what is open in it.
pub(crate) const RETIRE_AFTER: Duration = Duration::from_secs(30);
/// The whole time of one verdict, with its HTTP calls.
pub const VERDICT_MAX: Duration = Duration::from_secs(30);
/// Contexts of an instance that asked for time after their stream's end, until `proxy_done`.
pub(crate) const LINGERING_MAX: usize = 16;
/// The time they get.
pub(crate) const LINGER_MAX: Duration = Duration::from_secs(10);
/// A request may wait this long when its plugin has no live instance and one is being configured.
pub(crate) const REBUILD_WAIT_MAX: Duration = Duration::from_secs(5);
/// Fields of a header list after a module's edit.
pub(crate) const FIELDS_MAX: usize = 512;
/// Bytes of a header list after a module's edit.
pub(crate) const FIELDS_BYTES_MAX: usize = 256 << 10;
/// Body of a local response.
pub(crate) const LOCAL_BODY_MAX: usize = 1 << 20;
/// HTTP calls waiting, for one context.
pub(crate) const CALLS_PER_CONTEXT: usize = 8;
/// HTTP calls waiting, for one instance.
pub(crate) const CALLS_PER_INSTANCE: usize = 64;
/// Body of an HTTP call and of its response.
pub(crate) const CALL_BODY_MAX: usize = 1 << 20;
/// Longest HTTP call.
pub(crate) const CALL_TIME_MAX: Duration = Duration::from_secs(20);
/// Messages of `aegis_waf_event` in one job, and their bytes.
pub(crate) const EVENTS_MAX: usize = 64;
pub(crate) const EVENTS_BYTES_MAX: usize = 256 << 10;
/// Properties a context may set, and their bytes.
pub(crate) const PROPERTIES_MAX: usize = 64;
pub(crate) const PROPERTIES_BYTES_MAX: usize = 64 << 10;
/// Longest name of a property, metric, queue, key or function.
pub(crate) const NAME_MAX: usize = 1024;
/// Longest source of a native pattern.
pub(crate) const PATTERN_MAX: usize = 256 << 10;
/// Longest log line.
pub(crate) const LOG_LINE_MAX: usize = 4096;
/// Log lines of one plugin in a second.
pub(crate) const LOG_LINES_PER_SECOND: u32 = 200;
/// Most random bytes in one call: host calls cannot be interrupted.
pub(crate) const RANDOM_MAX: usize = 64 << 10;
/// Shortest time between two ticks.
pub(crate) const TICK_MIN: Duration = Duration::from_millis(10);

/// Counts a bound that was hit.
pub(crate) fn hit(limit: &'static str) {
    aegis_telemetry::metrics::LIMIT_HITS.with(&[limit]).inc();
}

/// Refuses growth past the plugin's bounds and remembers that it did.
pub(crate) struct Limiter {
    memory_max: usize,
    pub(crate) denied: bool,
}

impl Limiter {
    pub(crate) fn new(memory_max: u64) -> Self {
        Self {
            memory_max: usize::try_from(memory_max).unwrap_or(usize::MAX),
            denied: false,
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_max;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= TABLE_MAX;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}
