//! The places of connections, and which of them are idle.
//!
//! Idle connections stand in lines, the longest idle first; when all places are taken, that one goes for a new one. Every
//! step costs the same however many there are: the lines are linked lists in the shards' tables, and a choice looks at the
//! head of each shard's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    leave: Arc<Notify>,
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
    leave: Option<Arc<Notify>>,
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
        let leave = Arc::new(Notify::new());
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let slot = self.shard(shard).occupy(Arc::clone(&leave));
        Some(Arc::new(Seat {
            seats: Arc::clone(self),
            shard,
            slot,
            leave,
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
        let mut shard = self.shard(shard);
        let first = shard.first;
        // Somebody else may have been quicker; the line is looked at again then.
        if let Some(leave) = shard
            .slots
            .get(first as usize)
            .and_then(|s| s.leave.clone())
        {
            shard.unlink(first);
            leave.notify_one();
        }
        true
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

    /// A request has begun.
    pub(crate) fn work(&self) {
        self.seats.shard(self.shard).unlink(self.slot);
    }

    /// How long nothing has been done.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let now = self.seats.now();
        let shard = self.seats.shard(self.shard);
        let since = shard.slots.get(self.slot as usize)?.idle_since?;
        Some(Duration::from_millis(now.saturating_sub(since)))
    }

    /// Ready when its place is wanted for another.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
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
    fn occupy(&mut self, leave: Arc<Notify>) -> u32 {
        let new = Slot {
            before: NOBODY,
            next: NOBODY,
            idle_since: None,
            leave: Some(leave),
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
            slot.leave = None;
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
mod tests {
    use super::*;

    fn seat(seats: &Arc<Seats>) -> Arc<Seat> {
        seats.try_take().expect("a place")
    }

    async fn goes(seat: &Seat) -> bool {
        timeout(Duration::from_millis(20), seat.told_to_leave())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_goes_first_whichever_shard_it_is_in() {
        let seats = Seats::new(100);
        let all: Vec<_> = (0..100).map(|_| seat(&seats)).collect();
        // In an order of their own, one each millisecond.
        let order: Vec<_> = (0..100).map(|n| n * 37 % 100).collect();
        for &n in &order {
            all[n].rest();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // One of them works in between and is the last then.
        all[order[3]].work();
        all[order[3]].rest();
        let mut expected = order.clone();
        expected.remove(3);
        expected.push(order[3]);
        for n in expected {
            assert!(seats.send_longest_idle());
            assert!(goes(&all[n]).await, "{n}");
        }
        assert!(!seats.send_longest_idle(), "nobody is idle any more");
    }

    #[tokio::test]
    async fn past_the_last_place_an_idle_one_makes_room_and_a_busy_one_does_not() {
        let seats = Seats::new(2);
        let (busy, idle) = (seat(&seats), seat(&seats));
        idle.rest();
        let leaving = tokio::spawn(async move {
            idle.told_to_leave().await;
            drop(idle);
        });
        let (third, made_room) = seats.take().await.expect("room is made");
        assert!(made_room);
        leaving.await.unwrap();
        assert!(seats.take().await.is_none(), "all are at work");
        drop(busy);
        let (_fourth, made_room) = seats.take().await.expect("a free place");
        assert!(!made_room);
        drop(third);
    }

    #[tokio::test]
    async fn who_does_not_go_keeps_nobody_waiting_for_long() {
        tokio::time::pause();
        let seats = Seats::new(1);
        let stuck = seat(&seats);
        stuck.rest();
        assert!(seats.take().await.is_none());
        assert_eq!(seats.taken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn places_are_used_again() {
        let seats = Seats::new(1000);
        for _ in 0..50 {
            let all: Vec<_> = (0..100).map(|_| seat(&seats)).collect();
            for (n, one) in all.iter().enumerate() {
                if n % 3 == 0 {
                    one.rest();
                }
                if n % 6 == 0 {
                    one.work();
                }
            }
        }
        let slots: usize = (0..SHARDS).map(|n| seats.shard(n).slots.len()).sum();
        assert!(slots <= 100 + SHARDS, "{slots}");
        assert!(!seats.send_longest_idle());
    }
}
