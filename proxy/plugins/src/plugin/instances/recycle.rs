//! Instances that serve a number of requests: copies of a snapshot come and go on the threads that need them.

use super::{INSTANCES_EXTRA, Plugin, Slots};
use crate::guest::{Guest, StartFault};
use crate::host::Core;
use crate::slot::{Alone, Slot};
use aegis_telemetry::events::PluginFault;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Instances that serve one request each, at a time: as many requests and their responses are open.
const ALONE_MAX: usize = 256;
/// The same of all plugins together: half the places of an engine, which the WAF's instances are put into as well.
const ALONE_ALL_MAX: usize = 512;
/// Past that each plugin still gets so many, so that it neither stands still for what others keep open, nor waits for an
/// instance whose end it is not told of.
const ALONE_KEPT: usize = 2;
/// Instances on their way out, for each thread. More of them would be memory without use; until there are fewer, an
/// instance serves more requests than it should.
const RETIRING_PER_THREAD: usize = 2;

impl Core {
    /// Whether one more instance with contexts open in it may be on its way out.
    pub(crate) fn may_retire(&self) -> bool {
        self.retiring.load(Ordering::Acquire) < RETIRING_PER_THREAD * self.threads
    }
}

impl Plugin {
    /// Whether an instance serves one request and no other, ever.
    pub(super) fn serves_one(&self) -> bool {
        self.requests_max == Some(1)
    }

    /// The bound that is in the way of one more instance.
    pub(super) fn limit_hit(&self, slots: &Slots) -> Option<&'static str> {
        if !self.serves_one() {
            // Those on their way out have a bound of their own. Here they would take the places of their successors.
            let full = slots.live() >= self.core.threads + INSTANCES_EXTRA;
            full.then_some("plugin_instances")
        } else if slots.request.len() >= ALONE_MAX {
            Some("plugin_instances")
        } else {
            let full = self.core.alone.load(Ordering::Acquire) >= ALONE_ALL_MAX;
            (full && slots.request.len() >= ALONE_KEPT).then_some("plugin_instances_alone")
        }
    }

    /// The place of an instance that is being started.
    pub(super) fn place(&self) -> Arc<Slot> {
        let alone = self.serves_one().then(|| Alone::new(&self.core.alone));
        Arc::new(Slot::busy(alone))
    }

    /// Whether an instance has served the requests it is for. One that others share and that is no copy goes on: its
    /// successor would have to be configured first.
    pub(super) fn is_spent(&self, guest: &Guest) -> bool {
        let counts = self.template.is_snapshot() || self.serves_one();
        counts && self.requests_max.is_some_and(|max| guest.opened() >= max)
    }

    /// A place for one more copy, if there may be one.
    pub(super) fn place_for_copy(&self, slots: &mut Slots) -> Option<Arc<Slot>> {
        if let Some(limit) = self.limit_hit(slots) {
            crate::limits::hit(limit);
            return None;
        }
        let place = self.place();
        slots.request.push(place.clone());
        Some(place)
    }

    /// Makes a copy of the snapshot for this place; without memory for it, the place is gone again.
    pub(super) fn copy_into(self: &Arc<Self>, place: &Arc<Slot>) -> Option<Box<Guest>> {
        self.counters.instances.inc();
        match self.template.start() {
            Ok(guest) => Some(Box::new(guest)),
            Err(StartFault { what, .. }) => {
                PluginFault {
                    plugin: self.name(),
                    kind: "start",
                    detail: &format!("a copy of its snapshot cannot be had: {what}"),
                }
                .emit();
                self.ended(place, "start");
                None
            }
        }
    }

    /// Takes no new streams into an instance that has served its requests, or has grown.
    pub(super) fn recycle(self: &Arc<Self>, slot: &Arc<Slot>, guest: &Guest, served: bool) {
        let strict = served && self.serves_one();
        let empty = guest.open_streams() == 0;
        // The root's memory is all there is of what ticks have come to; its successor is ordered when it has outgrown.
        if !(strict || empty || self.core.may_retire()) || self.is_root(slot) {
            return;
        }
        let counted = !strict && !empty;
        if slot.retire(counted) && counted {
            self.core.retiring.fetch_add(1, Ordering::AcqRel);
            self.end_later(slot);
        }
    }
}
