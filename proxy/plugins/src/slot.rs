//! The place of one instance: idle, busy on a thread, or gone.
//!
//! Lock order: a plugin's list of slots before a slot. A guest is only ever touched by the thread that took it out.

use crate::guest::Guest;
use crate::pool::Job;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Holds one instance.
pub(crate) struct Slot {
    inner: Mutex<Inner>,
    /// A tick waits or runs: the next one is left out.
    pub(crate) tick_waits: AtomicBool,
    /// A successor was ordered.
    pub(crate) replaced: AtomicBool,
}

struct Inner {
    state: Place,
    /// Jobs for this instance that came while it was busy.
    waiting: VecDeque<Job>,
    /// No new streams; gone when empty.
    retiring: bool,
    /// It is one of those on their way out of which there may only be a few.
    counted: bool,
    /// It is one of those that serve one request each.
    alone: Option<Alone>,
    idle_since: Instant,
    memory: usize,
}

/// Counts an instance that serves one request, for as long as it lives.
pub(crate) struct Alone(Arc<AtomicUsize>);

impl Alone {
    pub(crate) fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::AcqRel);
        Self(all.clone())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Place {
    Idle(Box<Guest>),
    Busy,
    Gone,
}

/// What an instance leaves behind.
pub(crate) struct Ended {
    /// Jobs that waited for it.
    pub(crate) waiting: VecDeque<Job>,
    /// The bytes it had.
    pub(crate) memory: i64,
    /// It was one of those on their way out that are counted.
    pub(crate) was_counted: bool,
}

/// What became of an attempt to take the guest out.
pub(crate) enum Taken {
    Guest(Box<Guest>, Job),
    /// The job waits until the guest comes back.
    Queued,
    /// There is no guest any more.
    Gone(Job),
}

impl Slot {
    /// A slot whose guest is still being started: jobs for it wait.
    pub(crate) fn busy(alone: Option<Alone>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state: Place::Busy,
                waiting: VecDeque::new(),
                retiring: false,
                counted: false,
                alone,
                idle_since: Instant::now(),
                memory: 0,
            }),
            tick_waits: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    /// The guest, if it is idle and may take one more stream, or its only one.
    pub(crate) fn take_for_new(&self, alone: bool) -> Option<Box<Guest>> {
        let mut inner = self.inner.lock();
        let max = if alone {
            1
        } else {
            crate::limits::CONTEXTS_MAX
        };
        let room = match &inner.state {
            Place::Idle(guest) => !inner.retiring && guest.open_streams() < max,
            _ => false,
        };
        if room { inner.take() } else { None }
    }

    /// The guest for a job that is bound to it.
    pub(crate) fn take_for(&self, job: Job) -> Taken {
        let mut inner = self.inner.lock();
        match inner.take() {
            Some(guest) => Taken::Guest(guest, job),
            None if matches!(inner.state, Place::Busy) => {
                inner.waiting.push_back(job);
                Taken::Queued
            }
            None => Taken::Gone(job),
        }
    }

    /// Puts the guest back; jobs that waited for it, and by how many bytes it grew.
    pub(crate) fn put_back(&self, guest: Box<Guest>) -> (VecDeque<Job>, i64) {
        let mut inner = self.inner.lock();
        let memory = guest.memory_size();
        let grown = signed(memory) - signed(inner.memory);
        inner.memory = memory;
        inner.idle_since = Instant::now();
        inner.state = Place::Idle(guest);
        (std::mem::take(&mut inner.waiting), grown)
    }

    /// The guest is no more.
    pub(crate) fn end(&self) -> Ended {
        let mut inner = self.inner.lock();
        inner.state = Place::Gone;
        inner.alone = None;
        Ended {
            waiting: std::mem::take(&mut inner.waiting),
            memory: signed(std::mem::take(&mut inner.memory)),
            was_counted: std::mem::take(&mut inner.counted),
        }
    }

    /// No new streams from now on; `false` if the guest is no more, or retires already.
    pub(crate) fn retire(&self, counted: bool) -> bool {
        let mut inner = self.inner.lock();
        let lives = !matches!(inner.state, Place::Gone) && !inner.retiring;
        inner.retiring |= lives;
        inner.counted |= lives && counted;
        lives
    }

    /// Linear memory after its last job.
    pub(crate) fn memory(&self) -> usize {
        self.inner.lock().memory
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.inner.lock().retiring
    }

    /// The guest, if nothing is open in it and it is idle for so long.
    pub(crate) fn take_unused(&self, since: Instant) -> Option<Box<Guest>> {
        let mut inner = self.inner.lock();
        let unused = match &inner.state {
            Place::Idle(guest) => guest.open_streams() == 0 && inner.idle_since <= since,
            _ => false,
        };
        if unused { inner.take() } else { None }
    }

    /// Marks a tick as waiting; `false` if one waits already.
    pub(crate) fn claim_tick(&self) -> bool {
        !self.tick_waits.swap(true, Ordering::AcqRel)
    }
}

impl Inner {
    fn take(&mut self) -> Option<Box<Guest>> {
        match std::mem::replace(&mut self.state, Place::Busy) {
            Place::Idle(guest) => Some(guest),
            other => {
                self.state = other;
                None
            }
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
