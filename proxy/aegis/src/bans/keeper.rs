//! The thread that keeps verdicts on disk, sweeps out what ended, and looks up anew who may not be banned.
//!
//! An operator's change is on disk before he is told that it is done; a rule's within a second. When a change could not
//! be written or was lost, the whole table is written instead, again and again until it works.

use super::{Bans, wall};
use aegis_telemetry::events::StoreFailed;
use aegis_telemetry::metrics;
use aegis_verdicts::{Change, Store, Watch, Watcher};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Changes that wait for the disk; more are lost, and healed by a snapshot.
const PLACES: usize = 16_384;
/// Changes written at a time.
const BATCH: usize = 4096;
/// How often the thread looks up.
const TICK: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// How often what may not be banned is looked up.
const PROTECT: Duration = Duration::from_secs(30);
/// Pause after a failure to write a snapshot.
const RETRY: Duration = Duration::from_secs(10);
/// Verdicts swept out at a time.
const SWEEP: usize = 100_000;

/// The number of the last change that is on disk.
#[derive(Default)]
pub(super) struct Kept {
    number: Mutex<u64>,
    moved: Condvar,
}

impl Kept {
    /// Waits until a change is on disk, or not any longer.
    pub(super) fn wait(&self, number: u64, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        let mut kept = self.number.lock();
        while *kept < number {
            if self.moved.wait_until(&mut kept, until).timed_out() {
                return *kept >= number;
            }
        }
        true
    }

    fn set(&self, number: u64) {
        let mut kept = self.number.lock();
        *kept = number.max(*kept);
        self.moved.notify_all();
    }
}

/// The running thread.
pub(super) struct Keeper {
    kept: Arc<Kept>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(bans: Arc<Bans>) -> io::Result<Self> {
        let (kept, stop) = (Arc::<Kept>::default(), Arc::<AtomicBool>::default());
        let now = Instant::now();
        let mut writer = Writer {
            watcher: bans.desk.watch(Watch::All, PLACES),
            bans,
            store: None,
            kept: Arc::clone(&kept),
            unsynced: None,
            lost: false,
            next_second: now,
            next_protect: now + PROTECT,
            not_before: now,
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("verdicts".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) && writer.turn().is_ok() {}
                writer.finish();
            })?;
        Ok(Self { kept, stop, thread })
    }

    pub(super) fn waiter(&self) -> Arc<Kept> {
        Arc::clone(&self.kept)
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread that keeps bans panicked; please report it");
        }
    }
}

struct Writer {
    bans: Arc<Bans>,
    watcher: Watcher,
    store: Option<Store>,
    kept: Arc<Kept>,
    /// The last change that is written and not yet safe from a loss of power.
    unsynced: Option<u64>,
    /// Changes were not told, so the journal lacks them; a snapshot heals that.
    lost: bool,
    next_second: Instant,
    next_protect: Instant,
    not_before: Instant,
}

impl Writer {
    fn turn(&mut self) -> Result<(), aegis_verdicts::DeskGone> {
        if self.store.is_none() {
            self.open();
        }
        let mut changes = Vec::new();
        let mut wait = TICK;
        while changes.len() < BATCH
            && let Some(change) = self.watcher.next(wait)?
        {
            changes.push(change);
            wait = Duration::ZERO;
        }
        if !changes.is_empty() {
            self.write(changes);
        }
        let now = Instant::now();
        if now >= self.next_second {
            self.next_second = now + SECOND;
            self.each_second(now);
        }
        Ok(())
    }

    fn each_second(&mut self, now: Instant) {
        let desk = &self.bans.desk;
        desk.table().sweep(SWEEP, desk.clock().at(now));
        let entries = desk.table().stats().entries;
        metrics::VERDICTS.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.sync();
        if self.watcher.take_lost() {
            metrics::VERDICTS_STORE_ERRORS.inc();
            self.lost = true;
        }
        let wanted = self.store.as_ref().is_some_and(Store::wants_snapshot);
        if (self.lost || wanted) && now >= self.not_before {
            self.snapshot();
        }
        if now >= self.next_protect {
            self.next_protect = now + PROTECT;
            self.bans.protect();
        }
    }

    /// Becomes the one who writes, when nobody else does.
    fn open(&mut self) {
        let now = Instant::now();
        if now < self.not_before {
            return;
        }
        match Store::open(&self.bans.dir) {
            Ok(Some(store)) => {
                self.store = Some(store);
                self.snapshot();
            }
            // A process that ends slowly; its last bans are on disk when it is gone, and ours go over them.
            Ok(None) => self.not_before = now + SECOND,
            Err(error) => {
                self.failed("opened", &error);
                self.not_before = now + RETRY;
            }
        }
    }

    fn write(&mut self, changes: Vec<(u64, Change)>) {
        let Some(store) = &mut self.store else {
            return;
        };
        let number = changes.last().map_or(0, |(number, _)| *number);
        let urgent = changes.iter().any(|(_, change)| match change {
            Change::Put(verdict) => verdict.author.is_operator(),
            Change::Removed { .. } => true,
        });
        let ahead = self.bans.desk.clock().ahead(Instant::now(), wall());
        match store.append(changes.into_iter().map(|(_, change)| change), ahead) {
            Ok(()) => self.unsynced = Some(number),
            Err(error) => {
                // Told once by the snapshot that heals it, if that fails too.
                tracing::debug!(%error, "changes of verdicts are not in the journal");
                if Instant::now() >= self.not_before {
                    self.snapshot();
                }
                return;
            }
        }
        if urgent {
            self.sync();
        }
    }

    fn sync(&mut self) {
        let (Some(store), Some(number)) = (&mut self.store, self.unsynced.take()) else {
            return;
        };
        match store.sync() {
            Ok(()) => self.kept.set(number),
            Err(error) => self.failed("written", &error),
        }
    }

    fn snapshot(&mut self) {
        let Some(store) = &mut self.store else {
            return;
        };
        let desk = &self.bans.desk;
        // Whatever has this number or a lower one is in the table.
        let number = desk.number();
        let now = Instant::now();
        let ahead = desk.clock().ahead(now, wall());
        match store.snapshot(desk.table(), desk.clock().at(now), ahead) {
            Ok(()) => {
                self.unsynced = None;
                self.lost = false;
                self.kept.set(number);
            }
            Err(error) => {
                self.not_before = now + RETRY;
                self.failed("written", &error);
            }
        }
    }

    fn finish(&mut self) {
        // What was told since the last turn.
        let mut changes = Vec::new();
        while let Ok(Some(change)) = self.watcher.next(Duration::ZERO) {
            changes.push(change);
        }
        if !changes.is_empty() {
            self.write(changes);
        }
        if self.store.as_ref().is_some_and(Store::has_changes) {
            self.snapshot();
        }
    }

    fn failed(&self, what: &'static str, error: &io::Error) {
        StoreFailed {
            dir: &self.bans.dir,
            what,
            error,
        }
        .emit();
    }
}
