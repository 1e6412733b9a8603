//! Instances that serve a number of requests: copies of a snapshot come and go on the threads that need them.

use super::{INSTANCES_EXTRA, Plugin, Slots};
use crate::guest::{Guest, StartFault};
use crate::slot::Slot;
use aegis_telemetry::events::PluginFault;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Instances that serve one request each, at a time: as many requests and their responses are open.
const ALONE_MAX: usize = 256;
/// Instances on their way out, for each thread. More of them would be memory without use; until there are fewer, an
/// instance serves more requests than it should.
const RETIRING_PER_THREAD: usize = 2;

impl Plugin {
    /// Whether an instance serves one request and no other, ever.
    pub(super) fn serves_one(&self) -> bool {
        self.requests_max == Some(1)
    }

    /// Instances it may have at a time.
    pub(super) fn instances_max(&self) -> usize {
        if self.serves_one() {
            ALONE_MAX
        } else {
            self.core.threads + INSTANCES_EXTRA
        }
    }

    /// Whether an instance has served the requests it is for. One that others share and that is no copy goes on: its
    /// successor would have to be configured first.
    pub(super) fn is_spent(&self, guest: &Guest) -> bool {
        let counts = self.template.is_snapshot() || self.serves_one();
        counts && self.requests_max.is_some_and(|max| guest.opened() >= max)
    }

    /// A place for one more copy, if there may be one.
    pub(super) fn place_for_copy(&self, slots: &mut Slots) -> Option<Arc<Slot>> {
        if slots.request.len() >= self.instances_max() {
            crate::limits::hit("plugin_instances");
            return None;
        }
        let place = Arc::new(Slot::busy());
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
        let room = || {
            let max = RETIRING_PER_THREAD * self.core.threads;
            self.core.retiring.load(Ordering::Acquire) < max
        };
        // The root's memory is all there is of what ticks have come to; its successor is ordered when it has outgrown.
        if !(strict || empty || room()) || self.is_root(slot) {
            return;
        }
        let counted = !strict && !empty;
        if slot.retire(counted) && counted {
            self.core.retiring.fetch_add(1, Ordering::AcqRel);
            self.end_later(slot);
        }
    }
}
