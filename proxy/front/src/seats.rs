//! The places of connections, and which of them are idle.
//!
//! Idle connections stand in lines, the longest idle first; when all places are taken, that one goes for a new one. Every
//! step costs the same however many there are: the lines are linked lists in the shards' tables, and a choice looks at the
//! head of each shard's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

const SHARDS: usize = 16;
const NOBODY: u32 = u32::MAX;
/// How long a new connection waits for one that was told to go.
const LEAVE: Duration = Duration::from_secs(1);
/// Others may be faster to the place that became free; then it is tried again.
const TRIES: usize = 8;

/// All places.
#[derive(Debug)]
pub(crate) struct Seats {
    max: usize,
    taken: AtomicUsize,
    next: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
    freed: Notify,
    began: Instant,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    shard: usize,
    slot: u32,
    /// It was told to go.
    leaves: AtomicBool,
    /// Something is to be looked at beside the serving.
    nudged: AtomicBool,
    /// The connection's task.
    task: Mutex<Option<Waker>>,
}

#[derive(Debug)]
struct Shard {
    slots: Vec<Slot>,
    /// Slots that nobody has, linked by `next`.
    free: u32,
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Slot {
    before: u32,
    next: u32,
    /// Milliseconds since the door opened; `None` while it is at work.
    idle_since: Option<u64>,
    seat: Weak<Seat>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: NOBODY,
            first: NOBODY,
            last: NOBODY,
        }
    }
}

impl Seats {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            shards: Default::default(),
            freed: Notify::new(),
            began: Instant::now(),
        })
    }

    /// A place, if there is one or somebody idle can go; `true` beside it if somebody had to.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<(Arc<Seat>, bool)> {
        let mut made_room = false;
        for _ in 0..TRIES {
            if let Some(seat) = self.try_take() {
                return Some((seat, made_room));
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            // It may have become free before the line above.
            if let Some(seat) = self.try_take() {
                return Some((seat, made_room));
            }
            if !self.send_longest_idle() {
                return None;
            }
            made_room = true;
            // Nothing keeps who was told to go; if something does, the next one is told.
            drop(timeout(LEAVE, freed).await);
        }
        None
    }

    fn try_take(self: &Arc<Self>) -> Option<Arc<Seat>> {
        if self.taken.fetch_add(1, Ordering::AcqRel) >= self.max {
            self.taken.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        Some(Arc::new_cyclic(|seat| Seat {
            seats: Arc::clone(self),
            shard,
            slot: self.shard(shard).occupy(Weak::clone(seat)),
            leaves: AtomicBool::new(false),
            nudged: AtomicBool::new(true),
            task: Mutex::default(),
        }))
    }

    /// Tells the connection that has been idle for longest to go; false if none is idle.
    fn send_longest_idle(&self) -> bool {
        let since = |shard: &usize| {
            let shard = self.shard(*shard);
            shard.slots.get(shard.first as usize)?.idle_since
        };
        let heads = (0..SHARDS).filter_map(|shard| Some((since(&shard)?, shard)));
        let Some((_, shard)) = heads.min() else {
            return false;
        };
        // Somebody else may have been quicker; the line is looked at again then. The seat may be the last hold on itself,
        // and needs its shard to go.
        let seat = {
            let mut shard = self.shard(shard);
            let first = shard.first;
            let seat = shard
                .slots
                .get(first as usize)
                .and_then(|slot| slot.seat.upgrade());
            shard.unlink(first);
            if let Some(seat) = &seat {
                // While nobody can begin to work: see there.
                seat.leaves.store(true, Ordering::Release);
            }
            seat
        };
        if let Some(seat) = seat {
            seat.nudge();
        }
        true
    }

    /// Has every connection look at what has happened beside what it serves.
    pub(crate) fn nudge_all(&self) {
        for shard in 0..SHARDS {
            // A seat may be the last hold on itself, and needs its shard to go.
            let all: Vec<_> = {
                let shard = self.shard(shard);
                let seats = shard.slots.iter().map(|slot| slot.seat.upgrade());
                seats.collect()
            };
            for seat in all.into_iter().flatten() {
                seat.nudge();
            }
        }
    }

    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        #[expect(
            clippy::indexing_slicing,
            reason = "callers take a remainder of the length"
        )]
        let shard = &self.shards[at];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Seat {
    /// Nothing is being done: its turn to go may come.
    pub(crate) fn rest(&self) {
        let now = self.seats.now();
        self.seats.shard(self.shard).link(self.slot, now);
    }

    /// A request has begun. Who was told to go and has not gone yet stays: it is idle no more.
    pub(crate) fn work(&self) {
        let was_to_leave = {
            let mut shard = self.seats.shard(self.shard);
            shard.unlink(self.slot);
            self.leaves.swap(false, Ordering::AcqRel)
        };
        if was_to_leave {
            // Whoever waits for this place looks for another.
            self.seats.freed.notify_waiters();
        }
    }

    /// How long nothing has been done.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let now = self.seats.now();
        let shard = self.seats.shard(self.shard);
        let since = shard.slots.get(self.slot as usize)?.idle_since?;
        Some(Duration::from_millis(now.saturating_sub(since)))
    }

    /// Whether its place is wanted for another. Its task is nudged when it is.
    pub(crate) fn is_to_leave(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    /// Whether something has happened beside what the task serves, since it was last asked; from now on that wakes `task`.
    /// The task of a connection polls what it serves far more often than anything else happens.
    pub(crate) fn was_nudged(&self, task: &Waker) -> bool {
        if !self.nudged.swap(false, Ordering::AcqRel) {
            return false;
        }
        let mut known = self.task();
        if known.as_ref().is_none_or(|known| !known.will_wake(task)) {
            *known = Some(task.clone());
        }
        true
    }

    fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        let task = self.task().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.nudge();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.nudge();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.shard(self.shard).vacate(self.slot);
        self.seats.taken.fetch_sub(1, Ordering::AcqRel);
        self.seats.freed.notify_waiters();
    }
}

impl Shard {
    fn occupy(&mut self, seat: Weak<Seat>) -> u32 {
        let new = Slot {
            before: NOBODY,
            next: NOBODY,
            idle_since: None,
            seat,
        };
        let at = self.free;
        if let Some(slot) = self.slots.get_mut(at as usize) {
            self.free = slot.next;
            *slot = new;
            return at;
        }
        self.slots.push(new);
        u32::try_from(self.slots.len() - 1).unwrap_or(NOBODY)
    }

    fn vacate(&mut self, at: u32) {
        self.unlink(at);
        let free = self.free;
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.seat = Weak::new();
            slot.next = free;
            self.free = at;
        }
    }

    /// Puts it at the end of the line, if it is not in it.
    fn link(&mut self, at: u32, now: u64) {
        let last = self.last;
        let Some(slot) = self.slots.get_mut(at as usize) else {
            return;
        };
        if slot.idle_since.is_some() {
            return;
        }
        slot.idle_since = Some(now);
        slot.before = last;
        slot.next = NOBODY;
        self.last = at;
        match self.slots.get_mut(last as usize) {
            Some(slot) => slot.next = at,
            None => self.first = at,
        }
    }

    /// Takes it out of the line, if it is in it.
    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slots.get_mut(at as usize) else {
            return;
        };
        if slot.idle_since.take().is_none() {
            return;
        }
        let (before, next) = (slot.before, slot.next);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.next = next,
            None => self.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests;
