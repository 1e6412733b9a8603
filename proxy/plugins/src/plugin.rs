//! A running plugin, and the question it is asked.
//!
//! Its instances are in [`instances`], the one for ticks and queues in [`root`].

mod instances;
mod root;

use crate::guest::Template;
use crate::host::{Core, Running};
use crate::open::OpenContext;
use crate::pool::{Job, NewRequest, Task, wait_of};
use crate::slot::Slot;
use crate::source::Source;
use crate::spec::{Body, Inspect, Properties, RequestHead};
use crate::stream::Step;
use crate::ticket;
use crate::verdict::Verdict;
use crate::vm::Vm;
use crate::weight::Weight;
use aegis_telemetry::metrics;
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A plugin that is ready for requests.
pub struct Plugin {
    pub(crate) vm: Arc<Vm>,
    pub(crate) core: Arc<Core>,
    template: Template,
    deadline: Duration,
    deadline_per_kib: Duration,
    deadline_max: Duration,
    pub(crate) inspect: Inspect,
    /// Requests one instance serves.
    requests_max: Option<u32>,
    /// How it came to run.
    pub(crate) running: Arc<Running>,
    slots: Mutex<instances::Slots>,
    /// Nanoseconds of CPU a unit of weight takes in short requests, and in long ones; moving averages.
    unit_cost: [AtomicU64; 2],
    /// There is no instance for requests; one is being configured.
    rebuilding: AtomicBool,
    /// An instance faulted lately: one more than needed is kept ready.
    faulted: AtomicBool,
    queues_pending: Mutex<Vec<u32>>,
    pub(crate) counters: Counters,
    pub(crate) failures: AtomicU32,
    timers: Mutex<Vec<tokio::task::AbortHandle>>,
}

/// Handles on the plugin's metrics.
pub(crate) struct Counters {
    pub(crate) jobs: IntCounter,
    pub(crate) cpu_micros: IntCounter,
    pub(crate) instances: IntGauge,
    pub(crate) memory: IntGauge,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Request,
    Root,
}

/// The parts a plugin is made of.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) template: Template,
    pub(crate) deadline: Duration,
    pub(crate) deadline_per_kib: Duration,
    pub(crate) deadline_max: Duration,
    pub(crate) inspect: Inspect,
    pub(crate) requests_max: Option<u32>,
    pub(crate) running: Running,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.vm.name)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let vm = parts.template.vm.clone();
        let label = [&*vm.name];
        let counters = Counters {
            jobs: metrics::PLUGIN_JOBS.with(&label),
            cpu_micros: metrics::PLUGIN_CPU_MICROS.with(&label),
            instances: metrics::PLUGIN_INSTANCES.with(&label),
            memory: metrics::PLUGIN_MEMORY.with(&label),
        };
        let plugin = Arc::new(Self {
            vm,
            core: parts.core,
            template: parts.template,
            deadline: parts.deadline,
            deadline_per_kib: parts.deadline_per_kib,
            deadline_max: parts.deadline_max,
            inspect: parts.inspect,
            requests_max: parts.requests_max,
            running: Arc::new(parts.running),
            slots: Mutex::default(),
            unit_cost: Default::default(),
            rebuilding: AtomicBool::new(false),
            faulted: AtomicBool::new(false),
            queues_pending: Mutex::default(),
            counters,
            failures: AtomicU32::new(0),
            timers: Mutex::default(),
        });
        let runtime = &plugin.core.runtime;
        let tick = runtime
            .spawn(root::tick(Arc::downgrade(&plugin), plugin.vm.clone()))
            .abort_handle();
        let tidy = runtime
            .spawn(instances::tidy(Arc::downgrade(&plugin)))
            .abort_handle();
        *plugin.timers.lock() = vec![tick, tidy];
        plugin
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.vm.name
    }

    /// How it came to run.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Linear memory of all its instances, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let slots = self.slots.lock();
        let bytes: usize = slots.all().map(|slot| slot.memory()).sum();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Its live instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.slots.lock().all().count()
    }

    /// Whether its module has a callback for request bodies; what has none need not be shown any.
    #[must_use]
    pub fn reads_request_body(&self) -> bool {
        let mut exports = self.template.pre.module().exports();
        exports.any(|export| export.name() == "proxy_on_request_body")
    }

    /// Asks for a verdict on a request. Dropping the future gives it up.
    ///
    /// Must be polled on a tokio runtime with time.
    pub fn request(
        self: &Arc<Self>,
        head: Arc<RequestHead>,
        body: Body,
        properties: Arc<Properties>,
    ) -> impl Future<Output = Verdict> + Send + 'static {
        let plugin = self.clone();
        async move {
            let (chunks, more) = match body {
                Body::None => (None, false),
                Body::Whole(chunks) => (Some(chunks), false),
                Body::Part(chunks) => (Some(chunks), true),
            };
            let shown = chunks.as_deref().unwrap_or_default();
            let body_len = shown.iter().map(Bytes::len).sum();
            let weight = Weight::of_request(&head, shown);
            let long = weight.is_long();
            let mut steps = VecDeque::with_capacity(2);
            steps.push_back(Step::RequestHeaders {
                end: chunks.is_none(),
            });
            // An empty beginning is not shown: a module could take it for one that was worth judging.
            let chunks = chunks.filter(|_| !more || body_len > 0);
            steps.extend(chunks.map(|chunks| Step::RequestBody { chunks, end: !more }));
            let (waiter, pending) = ticket::pair();
            if plugin.rebuilding.load(Ordering::Relaxed) {
                waiter.rebuilding();
            }
            let site = properties.site.clone();
            let source = Some(Source::of(head.source.ip()));
            let cost = plugin.cost(weight);
            plugin.core.queue.push(Job {
                plugin: plugin.clone(),
                site,
                source,
                task: Task::Request(Box::new(NewRequest {
                    head,
                    properties,
                    steps,
                    more,
                    body_len,
                    weight,
                    waiter,
                })),
                queued: Instant::now(),
                cost,
                long,
            });
            let wait_max = wait_of(long, plugin.core.wait_max);
            pending.wait(&plugin.vm.name, wait_max).await
        }
    }

    /// CPU time of a job with so many bytes of body.
    pub(crate) fn budget(&self, body_len: usize) -> Duration {
        let kib = u32::try_from(body_len.div_ceil(1024)).unwrap_or(u32::MAX);
        self.deadline
            .saturating_add(self.deadline_per_kib.saturating_mul(kib))
            .min(self.deadline_max)
    }

    /// Remembers what a request cost.
    pub(crate) fn learn(&self, weight: Weight, cpu: Duration) {
        let [short, long] = &self.unit_cost;
        let of = if weight.is_long() { long } else { short };
        let unit = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX) / weight.units();
        let old = of.load(Ordering::Relaxed);
        let new = if old == 0 {
            unit
        } else {
            old - old / 16 + unit / 16
        };
        of.store(new, Ordering::Relaxed);
    }

    /// What a request is expected to cost, in nanoseconds.
    fn cost(&self, weight: Weight) -> u64 {
        let [short, long] = &self.unit_cost;
        let of = if weight.is_long() { long } else { short };
        of.load(Ordering::Relaxed).saturating_mul(weight.units())
    }

    pub(crate) fn context(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        site: &Arc<str>,
        source: Source,
        id: u32,
    ) -> OpenContext {
        OpenContext::new(self.clone(), slot.clone(), site.clone(), source, id)
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.timers
            .get_mut()
            .iter()
            .for_each(tokio::task::AbortHandle::abort);
        for slot in self.slots.get_mut().all() {
            self.counters.memory.sub(slot.end().memory);
            self.counters.instances.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_cpu_time_of_a_job_grows_with_its_body_and_has_a_bound() {
        let plugin = testing::plugin("budget");
        assert_eq!(plugin.budget(0), Duration::from_millis(20));
        assert_eq!(plugin.budget(1), Duration::from_millis(21));
        assert_eq!(plugin.budget(1 << 20), Duration::from_millis(1044));
        assert_eq!(plugin.budget(1 << 30), crate::limits::JOB_CPU_MAX);
        assert_eq!(plugin.budget(usize::MAX), crate::limits::JOB_CPU_MAX);
    }
}
