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
mod tests {
    use super::*;

    fn seat(seats: &Arc<Seats>) -> Arc<Seat> {
        seats.try_take().expect("a place")
    }

    /// Until it is told to go.
    async fn told_to_leave(seat: &Seat) {
        std::future::poll_fn(|cx| {
            seat.was_nudged(cx.waker());
            if seat.is_to_leave() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
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
            assert!(!all[n].is_to_leave());
            assert!(seats.send_longest_idle());
            assert!(all[n].is_to_leave(), "{n}");
        }
        assert!(!seats.send_longest_idle(), "nobody is idle any more");
    }

    #[tokio::test]
    async fn past_the_last_place_an_idle_one_makes_room_and_a_busy_one_does_not() {
        let seats = Seats::new(2);
        let (busy, idle) = (seat(&seats), seat(&seats));
        idle.rest();
        let leaving = tokio::spawn(async move {
            told_to_leave(&idle).await;
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

    #[tokio::test(start_paused = true)]
    async fn who_begins_a_request_when_it_is_told_to_go_stays_and_the_next_one_goes() {
        let seats = Seats::new(2);
        let (first, second) = (seat(&seats), seat(&seats));
        first.rest();
        tokio::time::advance(Duration::from_millis(1)).await;
        second.rest();
        let second = tokio::spawn(async move {
            told_to_leave(&second).await;
        });
        let began = Instant::now();
        let beginning = async {
            told_to_leave(&first).await;
            // Its request came in the same moment.
            first.work();
            assert!(!first.is_to_leave());
        };
        let (taken, ()) = tokio::join!(seats.take(), beginning);
        assert!(taken.is_some_and(|(_, made_room)| made_room));
        assert_eq!(
            began.elapsed(),
            Duration::ZERO,
            "nobody waits for who stays"
        );
        assert!(!first.is_to_leave());
        second.await.unwrap();
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
