//! All answers of one URL.

use crate::key::Variance;
use crate::object::Object;
use crate::vary::Vary;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Most variants of a URL; a new one takes the place of the one stored first.
pub const VARIANTS_MAX: usize = 32;
/// The counter of hits stops here.
const USES_MAX: u8 = 3;

#[derive(Debug)]
struct Slot {
    variance: Option<Variance>,
    stored: Option<Arc<Object>>,
    /// The newest that is being received.
    filling: Option<Arc<Object>>,
}

impl Slot {
    /// The newer of the two.
    fn best(&self) -> Option<&Arc<Object>> {
        self.filling.as_ref().or(self.stored.as_ref())
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    uses: AtomicU8,
    /// The policy's admission; 0 = not admitted.
    pub(super) ticket: u64,
    vary: Vary,
    slots: Vec<Slot>,
}

impl Entry {
    pub(super) fn new() -> Self {
        Self {
            uses: AtomicU8::new(0),
            ticket: 0,
            vary: Vary::default(),
            slots: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn find(
        &self,
        which: impl FnOnce(&Vary) -> Option<Variance>,
    ) -> Option<Arc<Object>> {
        let variance = if self.vary.is_empty() {
            None
        } else {
            which(&self.vary)
        };
        let object = self
            .slots
            .iter()
            .find(|slot| slot.variance == variance)?
            .best()?;
        self.count();
        Some(Arc::clone(object))
    }

    pub(super) fn any(&self) -> Option<Arc<Object>> {
        self.slots.iter().find_map(Slot::best).cloned()
    }

    fn count(&self) {
        // Lost updates do not matter, and a plain store is cheaper than an exchange on every hit.
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// The counter before `change`.
    pub(super) fn change_uses(&self, change: fn(u8) -> u8) -> u8 {
        let uses = self.uses.load(Ordering::Relaxed);
        self.uses.store(change(uses), Ordering::Relaxed);
        uses
    }

    /// What is dropped is returned, to be freed outside the lock.
    pub(super) fn begin(&mut self, object: &Arc<Object>) -> Vec<Arc<Object>> {
        let mut gone = Vec::new();
        if self.vary != *object.vary() {
            // The origin chooses by other fields now: which request the old ones were for is no longer known.
            gone.extend(
                self.slots
                    .drain(..)
                    .flat_map(|slot| [slot.stored, slot.filling])
                    .flatten(),
            );
            self.vary = object.vary().clone();
        }
        if let Some(slot) = self
            .slots
            .iter_mut()
            .find(|slot| slot.variance == object.variance())
        {
            gone.extend(slot.filling.replace(Arc::clone(object)));
            return gone;
        }
        if self.slots.len() >= VARIANTS_MAX {
            let oldest = self.slots.remove(0);
            gone.extend([oldest.stored, oldest.filling].into_iter().flatten());
        }
        self.slots.push(Slot {
            variance: object.variance(),
            stored: None,
            filling: Some(Arc::clone(object)),
        });
        gone
    }

    /// `None` if the object has no place here any more.
    pub(super) fn commit(&mut self, object: &Arc<Object>) -> Option<Option<Arc<Object>>> {
        let slot = self.slots.iter_mut().find(|slot| {
            slot.filling
                .as_ref()
                .is_some_and(|filling| Arc::ptr_eq(filling, object))
        })?;
        slot.filling = None;
        Some(slot.stored.replace(Arc::clone(object)))
    }

    pub(super) fn abandon(&mut self, object: &Arc<Object>) {
        for slot in &mut self.slots {
            if slot
                .filling
                .as_ref()
                .is_some_and(|filling| Arc::ptr_eq(filling, object))
            {
                slot.filling = None;
            }
        }
        self.slots.retain(|slot| slot.best().is_some());
    }

    /// In the place of `old`, if that is stored.
    pub(super) fn replace(&mut self, old: &Arc<Object>, new: Arc<Object>) -> bool {
        let stored = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.stored.as_mut())
            .find(|stored| Arc::ptr_eq(stored, old));
        stored.map(|stored| *stored = new).is_some()
    }

    pub(super) fn clear_stored(&mut self) -> Vec<Arc<Object>> {
        self.ticket = 0;
        let gone = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.stored.take())
            .collect();
        self.slots.retain(|slot| slot.filling.is_some());
        gone
    }
}
