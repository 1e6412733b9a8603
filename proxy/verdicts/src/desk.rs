//! The table, the rules that feed it, and whoever wants to know what changes.
//!
//! Everything that changes a verdict goes through here, one change at a time, so that those who watch are told in the
//! order in which it happened. Two sorts of watchers: one keeps all verdicts on disk, and one enforces what
//! [`Verdict::may_go_lower`] where there is no HTTP (the seam to the kernel: a map of prefixes with their ends). Neither is
//! waited for: a watcher that does not keep up loses changes, is told that it did, and reads the table again.

use crate::{
    Asked, Change, Clock, Kind, Millis, NeverBan, Prefix, Put, Report, Rule, RuleSpec, Ruling,
    Scope, Table, Terms, Tracker, Verdict, VerdictError,
};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// What stages ask and report to, and what people change.
pub struct Desk {
    table: Table,
    rules: ArcSwapOption<Rules>,
    clock: Clock,
    secret: [u8; 16],
    told: Mutex<Told>,
}

struct Rules {
    specs: Vec<RuleSpec>,
    tracker: Tracker,
}

#[derive(Default)]
struct Told {
    number: u64,
    watchers: Vec<Sink>,
}

struct Sink {
    to: SyncSender<(u64, Change)>,
    which: Watch,
    lost: Arc<AtomicBool>,
}

/// Which changes a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// All of them.
    All,
    /// Those of verdicts that [`Verdict::may_go_lower`]. One that stops being such is told as removed; one that ends is
    /// not told: its end is in it.
    Lower,
}

/// One end of a stream of changes. Begin with what [`Table::list`] tells after this was made: changes may then be told
/// that are in it already, which changes nothing.
pub struct Watcher {
    from: Receiver<(u64, Change)>,
    lost: Arc<AtomicBool>,
}

/// What a rule made of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The ban it asks for.
    pub ban: Verdict,
    /// What became of it.
    pub put: Result<Put, VerdictError>,
}

impl Desk {
    /// A desk for so many verdicts. `secret` must be unknown to clients, and may be new at every start.
    ///
    /// # Errors
    /// [`VerdictError::Entries`].
    pub fn new(entries_max: usize, secret: [u8; 16], clock: Clock) -> Result<Self, VerdictError> {
        Ok(Self {
            table: Table::new(entries_max, secret, NeverBan::new([]))?,
            rules: ArcSwapOption::empty(),
            clock,
            secret,
            told: Mutex::default(),
        })
    }

    /// The table, to be read.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The clock its times are told in.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The verdict that holds for an address at a moment.
    pub fn judge(
        &self,
        address: std::net::IpAddr,
        asked: Asked<'_>,
        moment: Instant,
    ) -> Option<Ruling> {
        if self.table.is_untouched() {
            return None;
        }
        self.table.judge(address, asked, self.clock.at(moment))
    }

    /// The ban that holds, if one does: an allow that holds lets in.
    pub fn ban(
        &self,
        address: std::net::IpAddr,
        asked: Asked<'_>,
        moment: Instant,
    ) -> Option<Ruling> {
        self.judge(address, asked, moment)
            .filter(|ruling| ruling.kind() == Kind::Ban)
    }

    /// Counts a fault, and carries out what a rule makes of it.
    pub fn report(&self, report: &Report<'_>, moment: Instant) -> Option<Sentence> {
        let now = self.clock.at(moment);
        let ban = self.rules.load().as_ref()?.tracker.report(report, now)?;
        let put = self.put(&ban, Terms::default(), now);
        Some(Sentence {
            ban,
            put: put.map(|(put, _)| put),
        })
    }

    /// Takes a verdict in; gives the number of the change too.
    ///
    /// # Errors
    /// Those of [`Table::put`].
    pub fn put(
        &self,
        verdict: &Verdict,
        terms: Terms,
        now: Millis,
    ) -> Result<(Put, u64), VerdictError> {
        let mut told = self.told.lock();
        let put = self.table.put(verdict.clone(), terms, now)?;
        if let Some(evicted) = &put.evicted {
            told.removed(evicted);
        }
        told.put(&put.made, put.replaced.as_ref());
        Ok((put, told.number))
    }

    /// Takes a verdict out; gives the number of the change too.
    pub fn remove(&self, prefix: Prefix, scope: &Scope) -> Option<(Verdict, u64)> {
        let mut told = self.told.lock();
        let removed = self.table.remove(prefix, scope)?;
        told.removed(&removed);
        Some((removed, told.number))
    }

    /// The rules from now on; the same ones again remember what they knew.
    ///
    /// # Errors
    /// [`VerdictError`] naming the rule that is wrong; then the former ones stay.
    pub fn set_rules(&self, specs: Vec<RuleSpec>) -> Result<(), VerdictError> {
        if self
            .rules
            .load()
            .as_ref()
            .is_some_and(|rules| rules.specs == specs)
        {
            return Ok(());
        }
        let rules = specs.iter().cloned().map(Rule::new);
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let made = (!rules.is_empty())
            .then(|| Tracker::new(rules, self.secret))
            .transpose()?;
        self.rules
            .store(made.map(|tracker| Arc::new(Rules { specs, tracker })));
        Ok(())
    }

    /// Whether a fault has any consequence.
    pub fn has_rules(&self) -> bool {
        self.rules.load().is_some()
    }

    /// Protects these from now on. Rules' bans that touch what became protected are lifted, and given.
    pub fn protect(&self, never_ban: &NeverBan) -> Vec<Verdict> {
        if !self.table.protect(never_ban.clone()) {
            return Vec::new();
        }
        let mut lifted = Vec::new();
        let mut from = Some(0);
        while let Some(first) = from {
            let (page, next) = self.table.entries_from(first, 1024);
            from = next;
            let struck = page.iter().filter(|entry| {
                !entry.by_operator()
                    && entry.cause.kind == Kind::Ban
                    && never_ban.touches(entry.prefix)
            });
            for entry in struck {
                lifted.extend(
                    self.remove(entry.prefix, &entry.cause.scope)
                        .map(|(verdict, _)| verdict),
                );
            }
        }
        lifted
    }

    /// Tells changes from now on, up to `places` of them that nobody has taken yet.
    pub fn watch(&self, which: Watch, places: usize) -> Watcher {
        let (to, from) = sync_channel(places);
        let lost = Arc::new(AtomicBool::new(false));
        let sink = Sink {
            to,
            which,
            lost: Arc::clone(&lost),
        };
        self.told.lock().watchers.push(sink);
        Watcher { from, lost }
    }

    /// The number of the newest change.
    pub fn number(&self) -> u64 {
        self.told.lock().number
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("table", &self.table.stats())
            .finish_non_exhaustive()
    }
}

impl Told {
    fn put(&mut self, verdict: &Verdict, replaced: Option<&Verdict>) {
        self.number += 1;
        let lower = verdict.may_go_lower();
        let was_lower = replaced.is_some_and(Verdict::may_go_lower);
        let gone = || removal(verdict);
        let number = self.number;
        self.watchers.retain(|sink| match sink.which {
            Watch::All => sink.tell(number, Change::Put(verdict.clone())),
            Watch::Lower if lower => sink.tell(number, Change::Put(verdict.clone())),
            Watch::Lower if was_lower => sink.tell(number, gone()),
            Watch::Lower => true,
        });
    }

    fn removed(&mut self, verdict: &Verdict) {
        self.number += 1;
        let number = self.number;
        self.watchers.retain(|sink| {
            let concerned = sink.which == Watch::All || verdict.may_go_lower();
            !concerned || sink.tell(number, removal(verdict))
        });
    }
}

fn removal(verdict: &Verdict) -> Change {
    Change::Removed {
        prefix: verdict.prefix,
        scope: verdict.scope.clone(),
    }
}

impl Sink {
    /// Whether there still is somebody to tell.
    fn tell(&self, number: u64, change: Change) -> bool {
        match self.to.try_send((number, change)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.store(true, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Watcher {
    /// The next change with its number; `None` when none came in that time.
    ///
    /// # Errors
    /// The desk is gone.
    pub fn next(&self, wait: Duration) -> Result<Option<(u64, Change)>, DeskGone> {
        match self.from.recv_timeout(wait) {
            Ok(change) => Ok(Some(change)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(DeskGone),
        }
    }

    /// Whether changes were lost since this was last asked: what is known must be read again from the table.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }
}

/// There is no desk any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the desk of verdicts is gone")]
pub struct DeskGone;

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
