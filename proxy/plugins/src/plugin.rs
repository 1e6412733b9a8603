//! A running plugin: its instances, and how a stream finds one.
//!
//! Instances are made when demand shows, at most [`INSTANCES_EXTRA`] more than the pool has threads, and let go again
//! when they were not used for a while. A stream belongs to the instance its context was created in.

use crate::builder::Order;
use crate::guest::{Guest, Template};
use crate::host::Core;
use crate::limits::RETIRE_AFTER;
use crate::open::OpenContext;
use crate::pool::{Act, Job, NewRequest, Task};
use crate::slot::Slot;
use crate::spec::{Body, Inspect, Properties, RequestHead};
use crate::stream::Step;
use crate::ticket;
use crate::verdict::Verdict;
use crate::vm::Vm;
use aegis_telemetry::metrics;
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Instances beyond the number of threads, for contexts that stay open.
pub(crate) const INSTANCES_EXTRA: usize = 7;
/// An instance that is not needed for so long is let go, but for the last one.
const UNUSED_MAX: Duration = Duration::from_secs(60);
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// A plugin that is ready for requests.
pub struct Plugin {
    pub(crate) vm: Arc<Vm>,
    pub(crate) core: Arc<Core>,
    template: Template,
    deadline: Duration,
    deadline_per_kib: Duration,
    pub(crate) inspect: Inspect,
    slots: Mutex<Slots>,
    /// Nanoseconds of CPU a request takes for each KiB and one more; a moving average.
    unit_cost: AtomicU64,
    queues_pending: Mutex<Vec<u32>>,
    pub(crate) counters: Counters,
    pub(crate) failures: AtomicU32,
    timers: Mutex<Vec<tokio::task::AbortHandle>>,
}

#[derive(Default)]
struct Slots {
    /// Instances for streams; the last one is used first, so that the others can be let go.
    request: Vec<Arc<Slot>>,
    root: Option<Arc<Slot>>,
    /// Requests that found no instance.
    parked: VecDeque<Job>,
    building: bool,
    building_root: bool,
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
    pub(crate) inspect: Inspect,
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
            inspect: parts.inspect,
            slots: Mutex::default(),
            unit_cost: AtomicU64::new(0),
            queues_pending: Mutex::default(),
            counters,
            failures: AtomicU32::new(0),
            timers: Mutex::default(),
        });
        let runtime = &plugin.core.runtime;
        let tick = runtime
            .spawn(tick(Arc::downgrade(&plugin), plugin.vm.clone()))
            .abort_handle();
        let tidy = runtime.spawn(tidy(Arc::downgrade(&plugin))).abort_handle();
        *plugin.timers.lock() = vec![tick, tidy];
        plugin
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.vm.name
    }

    /// Linear memory of all its instances, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        u64::try_from(self.counters.memory.get()).unwrap_or_default()
    }

    /// Its live instances.
    #[must_use]
    pub fn instances(&self) -> usize {
        let slots = self.slots.lock();
        slots.request.len() + usize::from(slots.root.is_some())
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
            let body_len = chunks.iter().flatten().map(Bytes::len).sum();
            let mut steps = VecDeque::with_capacity(2);
            steps.push_back(Step::RequestHeaders {
                end: chunks.is_none(),
            });
            steps.extend(chunks.map(|chunks| Step::RequestBody { chunks, end: !more }));
            let (waiter, pending) = ticket::pair();
            let site = properties.site.clone();
            let cost = cost_of(&plugin.unit_cost, body_len);
            plugin.core.queue.push(Job {
                plugin: plugin.clone(),
                site,
                task: Task::Request(Box::new(NewRequest {
                    head,
                    properties,
                    steps,
                    more,
                    body_len,
                    waiter,
                })),
                queued: Instant::now(),
                cost,
            });
            pending.wait(&plugin.vm.name, plugin.core.wait_max).await
        }
    }

    /// CPU time of a job with so many bytes of body.
    pub(crate) fn budget(&self, body_len: usize) -> Duration {
        let kib = u32::try_from(body_len.div_ceil(1024)).unwrap_or(u32::MAX);
        self.deadline
            .saturating_add(self.deadline_per_kib.saturating_mul(kib))
    }

    /// Remembers what a request cost.
    pub(crate) fn learn(&self, body_len: usize, cpu: Duration) {
        let unit = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX) / units(body_len);
        let old = self.unit_cost.load(Ordering::Relaxed);
        let new = if old == 0 {
            unit
        } else {
            old - old / 16 + unit / 16
        };
        self.unit_cost.store(new, Ordering::Relaxed);
    }

    pub(crate) fn context(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        site: &Arc<str>,
        id: u32,
    ) -> OpenContext {
        OpenContext::new(self.clone(), slot.clone(), site.clone(), id)
    }

    /// An instance for a new stream. Without one the job is parked until there is.
    pub(crate) fn acquire(self: &Arc<Self>, job: Job) -> Option<(Arc<Slot>, Box<Guest>, Job)> {
        let mut slots = self.slots.lock();
        for slot in slots.request.iter().rev() {
            if let Some(guest) = slot.take_for_new() {
                return Some((slot.clone(), guest, job));
            }
        }
        if slots.parked.len() >= self.core.queue_max {
            drop(slots);
            job.fail(crate::FaultKind::QueueFull);
            return None;
        }
        slots.parked.push_back(job);
        if slots.live() == 0 {
            slots.rebuilding();
        }
        if !slots.building && slots.request.len() < self.core.threads + INSTANCES_EXTRA {
            slots.building = true;
            self.core
                .builder
                .order(Order::new(self, Role::Request, None));
        }
        None
    }

    /// Takes an instance back after a job.
    pub(crate) fn put_back(self: &Arc<Self>, slot: &Arc<Slot>, guest: Box<Guest>) {
        let retiring = slot.is_retiring();
        if retiring && guest.open_streams() == 0 {
            return self.let_go(slot, guest, "memory");
        }
        let outgrown = guest.outgrown();
        let (waiting, grown) = slot.put_back(guest);
        self.counters.memory.add(grown);
        waiting
            .into_iter()
            .for_each(|job| self.core.queue.push_bound(job));
        if !retiring && let Some(job) = self.slots.lock().parked.pop_front() {
            self.core.queue.push_bound(job);
        }
        // Its successor is configured first; until then it serves on.
        if outgrown && !slot.replaced.swap(true, Ordering::AcqRel) {
            let role = if self.is_root(slot) {
                Role::Root
            } else {
                Role::Request
            };
            self.core
                .builder
                .order(Order::new(self, role, Some(slot.clone())));
        }
    }

    fn is_root(&self, slot: &Arc<Slot>) -> bool {
        self.slots
            .lock()
            .root
            .as_ref()
            .is_some_and(|root| Arc::ptr_eq(root, slot))
    }

    /// Ends an instance in which nothing is open.
    pub(crate) fn let_go(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        mut guest: Box<Guest>,
        reason: &'static str,
    ) {
        let running = guest.running();
        if let Err(fault) = guest.shut_down(self.deadline) {
            tracing::debug!(plugin = %self.vm.name, fault = %fault.kind, "instance failed at its end");
        }
        drop((running, guest));
        self.ended(slot, reason);
    }

    /// An instance is no more: forgets it and fails what waited for it.
    pub(crate) fn ended(self: &Arc<Self>, slot: &Arc<Slot>, reason: &'static str) {
        if slot.is_retiring() {
            self.core.retiring.fetch_sub(1, Ordering::AcqRel);
        }
        let (waiting, memory) = slot.end();
        self.counters.memory.sub(memory);
        self.counters.instances.dec();
        metrics::PLUGIN_RETIRED.with(&[&self.vm.name, reason]).inc();
        waiting
            .into_iter()
            .for_each(|job| job.fail(crate::FaultKind::Lost));
        let mut slots = self.slots.lock();
        slots.request.retain(|other| !Arc::ptr_eq(other, slot));
        if slots
            .root
            .as_ref()
            .is_some_and(|root| Arc::ptr_eq(root, slot))
        {
            slots.root = None;
        }
    }

    /// Orders the successor of an instance that ended by a fault.
    pub(crate) fn replace_ended(self: &Arc<Self>, was_root: bool) {
        let mut slots = self.slots.lock();
        if was_root {
            drop(slots);
            return self.want_root();
        }
        if slots.live() == 0 {
            slots.rebuilding();
        }
        if !slots.building {
            slots.building = true;
            self.core
                .builder
                .order(Order::new(self, Role::Request, None));
        }
    }

    /// Whether this is the root instance; asked before it is forgotten.
    pub(crate) fn root_is(&self, slot: &Arc<Slot>) -> bool {
        self.is_root(slot)
    }

    /// Puts a new instance to work.
    pub(crate) fn install(
        self: &Arc<Self>,
        role: Role,
        mut guest: Box<Guest>,
        replaces: Option<&Arc<Slot>>,
    ) {
        let slot = Arc::new(Slot::busy());
        let calls = std::mem::take(&mut guest.state().calls.outbox);
        let queues = std::mem::take(&mut guest.state().queues_ready);
        self.counters.instances.inc();
        let parked: Vec<Job> = {
            let mut slots = self.slots.lock();
            match role {
                Role::Request => {
                    slots.request.push(slot.clone());
                    if replaces.is_none() {
                        slots.building = false;
                    }
                }
                Role::Root => {
                    slots.root = Some(slot.clone());
                    slots.building_root = false;
                }
            }
            if role == Role::Request {
                slots.parked.drain(..).collect()
            } else {
                Vec::new()
            }
        };
        // Calls made at configure come back to this very instance.
        crate::work::send_calls(self, &slot, &Arc::from(""), calls);
        self.put_back(&slot, guest);
        parked
            .into_iter()
            .for_each(|job| self.core.queue.push_bound(job));
        if let Some(old) = replaces {
            self.retire(old);
        }
        if role == Role::Request && (self.vm.tick().is_some() || self.vm.queues.any()) {
            self.want_root();
        }
        self.queues_ready(&queues);
    }

    /// An order could not be carried out; it is tried again later.
    pub(crate) fn build_failed(&self, replaces: Option<&Arc<Slot>>) {
        if let Some(old) = replaces {
            old.replaced.store(false, Ordering::Release);
        }
    }

    /// Takes no new streams into an instance any more, and ends it in a while.
    fn retire(self: &Arc<Self>, slot: &Arc<Slot>) {
        slot.retire();
        self.core.retiring.fetch_add(1, Ordering::AcqRel);
        if let Some(guest) = slot.take_unused(Instant::now()) {
            return self.let_go(slot, guest, "memory");
        }
        let (plugin, old) = (Arc::downgrade(self), Arc::downgrade(slot));
        self.core.runtime.spawn(async move {
            tokio::time::sleep(RETIRE_AFTER).await;
            if let (Some(plugin), Some(old)) = (plugin.upgrade(), old.upgrade()) {
                plugin.core.queue.push_bound(Job::bound(
                    &plugin,
                    &old,
                    &Arc::from(""),
                    Act::Retire,
                ));
            }
        });
    }

    /// Makes sure that there is, or will be, a root instance.
    fn want_root(self: &Arc<Self>) {
        let mut slots = self.slots.lock();
        if slots.root.is_none() && !slots.building_root {
            slots.building_root = true;
            self.core.builder.order(Order::new(self, Role::Root, None));
        }
    }

    /// Queues got items: their root is told.
    pub(crate) fn queues_ready(self: &Arc<Self>, ids: &[u32]) {
        {
            let mut pending = self.queues_pending.lock();
            for id in ids {
                if !pending.contains(id) {
                    pending.push(*id);
                }
            }
            if pending.is_empty() {
                return;
            }
        }
        let root = self.slots.lock().root.clone();
        match root {
            Some(root) => self.core.queue.push_bound(Job::bound(
                self,
                &root,
                &Arc::from(""),
                Act::QueuesReady,
            )),
            None => self.want_root(),
        }
    }

    pub(crate) fn take_queues_ready(&self) -> Vec<u32> {
        std::mem::take(&mut self.queues_pending.lock())
    }

    fn tick(self: &Arc<Self>) {
        let root = self.slots.lock().root.clone();
        match root {
            Some(root) if root.claim_tick() => {
                self.core
                    .queue
                    .push_bound(Job::bound(self, &root, &Arc::from(""), Act::Tick));
            }
            // The last one still runs, or waits: one is as good as two.
            Some(_) => {}
            None => self.want_root(),
        }
    }

    fn tidy(self: &Arc<Self>) {
        let Some(since) = Instant::now().checked_sub(UNUSED_MAX) else {
            return;
        };
        let unused = {
            let slots = self.slots.lock();
            let mut surplus = slots.live().saturating_sub(1);
            let take = |slot: &Arc<Slot>| {
                if surplus == 0 || slot.is_retiring() {
                    return None;
                }
                let guest = slot.take_unused(since)?;
                surplus -= 1;
                Some((slot.clone(), guest))
            };
            slots.request.iter().filter_map(take).collect::<Vec<_>>()
        };
        for (slot, guest) in unused {
            // Without a good-bye: that would be guest code on a thread of the runtime.
            drop(guest);
            self.ended(&slot, "unused");
        }
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }
}

impl Slots {
    fn live(&self) -> usize {
        self.request
            .iter()
            .filter(|slot| !slot.is_retiring())
            .count()
    }

    /// There is no instance: requests that wait for one may wait longer.
    fn rebuilding(&self) {
        for job in &self.parked {
            if let Task::Request(request) = &job.task {
                request.waiter.rebuilding();
            }
        }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.timers
            .get_mut()
            .iter()
            .for_each(tokio::task::AbortHandle::abort);
        let slots = self.slots.get_mut();
        for slot in slots.request.drain(..).chain(slots.root.take()) {
            let (_, memory) = slot.end();
            self.counters.memory.sub(memory);
            self.counters.instances.dec();
        }
    }
}

fn units(body_len: usize) -> u64 {
    u64::try_from(body_len / 1024).unwrap_or(u64::MAX - 1) + 1
}

fn cost_of(unit_cost: &AtomicU64, body_len: usize) -> u64 {
    unit_cost
        .load(Ordering::Relaxed)
        .saturating_mul(units(body_len))
}

async fn tick(plugin: Weak<Plugin>, vm: Arc<Vm>) {
    loop {
        let Some(period) = vm.tick() else {
            vm.tick_changed.notified().await;
            continue;
        };
        tokio::select! {
            () = vm.tick_changed.notified() => continue,
            () = tokio::time::sleep(period) => {}
        }
        match plugin.upgrade() {
            Some(plugin) => plugin.tick(),
            None => return,
        }
    }
}

async fn tidy(plugin: Weak<Plugin>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        match plugin.upgrade() {
            Some(plugin) => plugin.tidy(),
            None => return,
        }
    }
}
