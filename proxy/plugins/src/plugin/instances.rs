//! The instances of a plugin, and how a stream finds one.
//!
//! Instances are made when demand shows, at most [`INSTANCES_EXTRA`] more than the pool has threads, and let go again
//! when they were not used for a while. A stream belongs to the instance its context was created in. The successor of
//! an instance that grew too much is configured before that one goes. A plugin that faults gets a spare instance for a
//! while, so that who makes it fault does not take it from everybody else.
//!
//! Copies of a snapshot need none of that: the thread that needs one makes it, and lets it go when it has served its
//! requests ([`recycle`]).

mod recycle;

use super::{Plugin, Role};
use crate::builder::Order;
use crate::guest::Guest;
use crate::limits::RETIRE_AFTER;
use crate::pool::{Act, Job};
use crate::slot::Slot;
use crate::verdict::FaultKind;
use aegis_telemetry::metrics;
use parking_lot::MutexGuard;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Instances beyond the number of threads, for contexts that stay open.
pub(crate) const INSTANCES_EXTRA: usize = 7;
/// Instances without which no long job begins, and that are kept: one for it, one for everybody else.
const SPARE_MIN: usize = 2;
/// An instance that is not needed for so long is let go.
const UNUSED_MAX: Duration = Duration::from_secs(60);
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Places of instances.
#[derive(Default)]
pub(super) struct Slots {
    /// Instances for streams; the last one is used first, so that the others can be let go.
    request: Vec<Arc<Slot>>,
    pub(super) root: Option<Arc<Slot>>,
    /// Requests that found no instance.
    parked: VecDeque<Job>,
    building: bool,
    pub(super) building_root: bool,
}

impl Plugin {
    /// An instance for a new stream. Without one the job is parked until there is.
    pub(crate) fn acquire(self: &Arc<Self>, job: Job) -> Option<(Arc<Slot>, Box<Guest>, Job)> {
        let mut slots = self.slots.lock();
        let alone = self.serves_one();
        // A long job would keep those waiting that have a context open beside it.
        let found = slots.take_for_new(job.long || alone);
        if let Some((slot, guest)) = found {
            return Some((slot, guest, job));
        }
        if self.template.is_snapshot()
            && let Some(place) = self.place_for_copy(&mut slots)
        {
            drop(slots);
            if let Some(guest) = self.copy_into(&place) {
                return Some((place, guest, job));
            }
            slots = self.slots.lock();
        }
        if job.long
            && !alone
            && let Some((slot, guest)) = slots.take_for_new(false)
        {
            return Some((slot, guest, job));
        }
        self.park(slots, job);
        None
    }

    /// Gives a long job back if there is an instance for others beside the one it holds; else it waits until there is.
    pub(crate) fn with_spare(self: &Arc<Self>, job: Job) -> Option<Job> {
        if !job.long {
            return Some(job);
        }
        let slots = self.slots.lock();
        if self.takes_long(&slots) {
            return Some(job);
        }
        if let Some(waiter) = job.waiter() {
            waiter.rebuilding();
        }
        self.park(slots, job);
        None
    }

    /// Whether a long job may begin. Where an instance is a copy, or serves nobody else, it takes none from others.
    fn takes_long(&self, slots: &Slots) -> bool {
        self.template.is_snapshot()
            || self.serves_one()
            || slots.live() >= self.core.threads.min(SPARE_MIN)
    }

    /// Keeps a job until there is one more instance.
    fn park(self: &Arc<Self>, mut slots: MutexGuard<'_, Slots>, job: Job) {
        if slots.parked.len() >= self.core.queue_max {
            drop(slots);
            return job.fail(FaultKind::QueueFull);
        }
        slots.parked.push_back(job);
        self.rebuilding(&slots);
        match self.limit_hit(&slots) {
            None if !slots.building => {
                slots.building = true;
                let order = Order::new(self, Role::Request, None);
                self.core.builder.order(order);
            }
            // For a copy it was counted when there was no place for one.
            Some(limit) if !self.template.is_snapshot() => crate::limits::hit(limit),
            _ => {}
        }
    }

    /// Takes an instance back after a job.
    pub(crate) fn put_back(self: &Arc<Self>, slot: &Arc<Slot>, guest: Box<Guest>) {
        let served = self.is_spent(&guest);
        if served || self.template.is_snapshot() && guest.outgrown() {
            self.recycle(slot, &guest, served);
        }
        let retiring = slot.is_retiring();
        if retiring && guest.open_streams() == 0 {
            let reason = if served { "requests" } else { "memory" };
            return self.let_go(slot, guest, reason);
        }
        let outgrown = !retiring && guest.outgrown();
        let (waiting, grown) = slot.put_back(guest);
        self.counters.memory.add(grown);
        waiting
            .into_iter()
            .for_each(|job| self.core.queue.push_bound(job));
        if !retiring {
            self.unpark();
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

    /// Without any instance, requests may wait longer.
    fn rebuilding(&self, slots: &Slots) {
        let rebuilding = !self.template.is_snapshot() && slots.live() == 0;
        self.rebuilding.store(rebuilding, Ordering::Relaxed);
        if rebuilding {
            for job in &slots.parked {
                if let Some(waiter) = job.waiter() {
                    waiter.rebuilding();
                }
            }
        }
    }

    /// Lets one request that found no instance try again; a long one only where [`Self::with_spare`] would not park it
    /// again.
    pub(crate) fn unpark(&self) {
        let mut slots = self.slots.lock();
        let long = self.takes_long(&slots);
        let next = slots.parked.iter().position(|job| long || !job.long);
        let job = next.and_then(|at| slots.parked.remove(at));
        drop(slots);
        if let Some(job) = job {
            self.core.queue.push_bound(job);
        }
    }

    /// Ends the wait of requests that found no instance: there will be none.
    pub(crate) fn refuse_parked(&self) {
        let parked = std::mem::take(&mut self.slots.lock().parked);
        parked
            .into_iter()
            .for_each(|job| job.fail(FaultKind::Refused));
    }

    /// Whether this is the root instance.
    pub(crate) fn is_root(&self, slot: &Arc<Slot>) -> bool {
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
        // A copy has nothing to tell that the others have not: its root context never began.
        if !self.template.is_snapshot() {
            let running = guest.running();
            if let Err(fault) = guest.shut_down(self.deadline) {
                tracing::debug!(plugin = %self.vm.name, fault = %fault.kind, "instance failed at its end");
            }
            drop(running);
        }
        drop(guest);
        self.ended(slot, reason);
        // There is room for one more.
        self.unpark();
    }

    /// An instance is no more: forgets it and fails what waited for it.
    pub(crate) fn ended(self: &Arc<Self>, slot: &Arc<Slot>, reason: &'static str) {
        let ended = slot.end();
        if ended.was_counted {
            self.core.retiring.fetch_sub(1, Ordering::AcqRel);
        }
        self.counters.memory.sub(ended.memory);
        self.counters.instances.dec();
        metrics::PLUGIN_RETIRED.with(&[&self.vm.name, reason]).inc();
        let waiting = ended.waiting.into_iter();
        waiting.for_each(|job| job.fail(FaultKind::Lost));
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
        self.faulted.store(true, Ordering::Relaxed);
        let mut slots = self.slots.lock();
        if was_root {
            drop(slots);
            return self.want_root();
        }
        if self.template.is_snapshot() {
            drop(slots);
            return self.unpark();
        }
        self.rebuilding(&slots);
        if !slots.building {
            slots.building = true;
            self.core
                .builder
                .order(Order::new(self, Role::Request, None));
        }
    }

    /// Puts a new instance to work.
    pub(crate) fn install(
        self: &Arc<Self>,
        role: Role,
        mut guest: Box<Guest>,
        replaces: Option<&Arc<Slot>>,
    ) {
        let slot = match role {
            Role::Request => self.place(),
            Role::Root => Arc::new(Slot::busy(None)),
        };
        let calls = std::mem::take(&mut guest.state().calls.outbox);
        let queues = std::mem::take(&mut guest.state().queues_ready);
        self.counters.instances.inc();
        let parked: Vec<Job> = {
            let mut slots = self.slots.lock();
            match role {
                Role::Request => {
                    slots.request.push(slot.clone());
                    self.rebuilding.store(false, Ordering::Relaxed);
                    if replaces.is_none() {
                        slots.building = !self.template.is_snapshot()
                            && self.faulted.load(Ordering::Relaxed)
                            && slots.live() <= self.core.threads;
                        if slots.building {
                            let spare = Order::new(self, Role::Request, None);
                            self.core.builder.order(spare);
                        }
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

    /// Takes no new streams into an instance any more, and ends it in a while.
    fn retire(self: &Arc<Self>, slot: &Arc<Slot>) {
        if !slot.retire(true) {
            // It ended by a fault meanwhile.
            return;
        }
        self.core.retiring.fetch_add(1, Ordering::AcqRel);
        if let Some(guest) = slot.take_unused(Instant::now()) {
            return self.let_go(slot, guest, "memory");
        }
        self.end_later(slot);
    }

    /// Ends a retired instance in a while, whatever is open in it.
    fn end_later(self: &Arc<Self>, slot: &Arc<Slot>) {
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

    fn tidy(self: &Arc<Self>) {
        self.faulted.store(false, Ordering::Relaxed);
        let Some(since) = Instant::now().checked_sub(UNUSED_MAX) else {
            return;
        };
        let unused = {
            let slots = self.slots.lock();
            // One that was needed beside long jobs will be again; a copy is there when it is needed.
            let kept = if self.template.is_snapshot() {
                0
            } else {
                self.core.threads.min(SPARE_MIN)
            };
            let mut surplus = slots.live().saturating_sub(kept);
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
}

impl Slots {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.request.iter().chain(&self.root)
    }

    /// An idle instance for a new stream, the only one in it if `alone`.
    fn take_for_new(&self, alone: bool) -> Option<(Arc<Slot>, Box<Guest>)> {
        let mut newest = self.request.iter().rev();
        newest.find_map(|slot| Some((slot.clone(), slot.take_for_new(alone)?)))
    }

    fn live(&self) -> usize {
        self.request
            .iter()
            .filter(|slot| !slot.is_retiring())
            .count()
    }
}

/// Lets go of unused instances for as long as the plugin lives.
pub(super) async fn tidy(plugin: Weak<Plugin>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        match plugin.upgrade() {
            Some(plugin) => plugin.tidy(),
            None => return,
        }
    }
}
