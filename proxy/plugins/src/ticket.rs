//! The two ends of a verdict that is being made: who waits for it, and whether somebody still does.

use crate::limits::REBUILD_WAIT_MAX;
use crate::verdict::{FaultKind, Verdict};
use aegis_telemetry::events::PluginFault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a blocking wait adds to the job's CPU time: threads of the pool give way to others.
const BUSY_SLACK: Duration = Duration::from_secs(1);

const QUEUED: u8 = 0;
/// Queued, and its plugin has no live instance: one is being configured.
const REBUILDING: u8 = 1;
const STARTED: u8 = 2;
const ABANDONED: u8 = 3;

/// Decides the race between a thread that takes the job and the wait budget that runs out.
pub(crate) struct Ticket(AtomicU8);

impl Ticket {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(QUEUED)))
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn start(&self) -> bool {
        self.step(QUEUED, STARTED) || self.step(REBUILDING, STARTED)
    }
}

enum Reply {
    Async(oneshot::Sender<Verdict>),
    Blocking(mpsc::SyncSender<Verdict>),
}

/// The worker's end.
pub(crate) struct Waiter {
    reply: Reply,
    ticket: Arc<Ticket>,
    pub(crate) asked: Instant,
    /// Ends the wait for an HTTP call.
    pub(crate) expiry: Option<tokio::task::AbortHandle>,
}

impl Waiter {
    /// Whether the job may start: somebody still waits for it.
    pub(crate) fn start(&self) -> bool {
        !self.gone() && self.ticket.start()
    }

    /// The wait may be longer now: there is no instance at all.
    pub(crate) fn rebuilding(&self) {
        // Lost against a start or an abandonment, there is nothing to extend.
        self.ticket.step(QUEUED, REBUILDING);
    }

    /// Whether a thread that serves requests stands still for it.
    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self.reply, Reply::Blocking(_))
    }

    pub(crate) fn gone(&self) -> bool {
        match &self.reply {
            Reply::Async(sender) => sender.is_closed(),
            Reply::Blocking(_) => self.ticket.0.load(Ordering::Acquire) == ABANDONED,
        }
    }

    /// Hands over the verdict. If nobody waits any more it is dropped, and with it the context it may hold.
    pub(crate) fn send(self, verdict: Verdict) {
        if let Some(expiry) = self.expiry {
            expiry.abort();
        }
        match self.reply {
            Reply::Async(sender) => drop(sender.send(verdict)),
            Reply::Blocking(sender) => drop(sender.try_send(verdict)),
        }
    }

    /// Hands over a fault.
    pub(crate) fn fault(self, kind: FaultKind) {
        self.send(Verdict::fault(kind));
    }
}

/// The asking end, async.
pub(crate) struct Pending {
    verdict: oneshot::Receiver<Verdict>,
    ticket: Arc<Ticket>,
}

/// The asking end on a thread that may block.
pub(crate) struct PendingBlocking {
    verdict: mpsc::Receiver<Verdict>,
    ticket: Arc<Ticket>,
}

/// Both ends, async.
pub(crate) fn pair() -> (Waiter, Pending) {
    let (sender, verdict) = oneshot::channel();
    let ticket = Ticket::new();
    (
        waiter(Reply::Async(sender), &ticket),
        Pending { verdict, ticket },
    )
}

/// Both ends, for a thread that may block.
pub(crate) fn pair_blocking() -> (Waiter, PendingBlocking) {
    let (sender, verdict) = mpsc::sync_channel(1);
    let ticket = Ticket::new();
    (
        waiter(Reply::Blocking(sender), &ticket),
        PendingBlocking { verdict, ticket },
    )
}

fn waiter(reply: Reply, ticket: &Arc<Ticket>) -> Waiter {
    Waiter {
        reply,
        ticket: ticket.clone(),
        asked: Instant::now(),
        expiry: None,
    }
}

/// What to do when the wait budget is used up.
enum Late {
    GiveUp,
    /// It runs; its own deadline ends it.
    Running,
    Rebuilding,
}

impl Ticket {
    fn late(&self) -> Late {
        if self.step(QUEUED, ABANDONED) {
            return Late::GiveUp;
        }
        match self.0.load(Ordering::Acquire) {
            REBUILDING => Late::Rebuilding,
            _ => Late::Running,
        }
    }

    /// Whether a job that waits for an instance is given up now.
    fn give_up(&self) -> bool {
        self.step(REBUILDING, ABANDONED)
    }
}

/// A verdict that did not come because its wait budget ended.
fn too_late(plugin: &str) -> Verdict {
    PluginFault {
        plugin,
        kind: FaultKind::QueueWait.as_str(),
        detail: "no thread of the plugin pool was free within the wait budget",
    }
    .emit();
    Verdict::fault(FaultKind::QueueWait)
}

impl Pending {
    #[cfg(test)]
    pub(crate) fn is_decided(&self) -> bool {
        !self.verdict.is_empty()
    }

    /// Waits at most `wait_max` for a start, and then for the verdict.
    pub(crate) async fn wait(mut self, plugin: &str, wait_max: Duration) -> Verdict {
        let mut budget = wait_max;
        loop {
            match tokio::time::timeout(budget, &mut self.verdict).await {
                Ok(verdict) => return verdict.unwrap_or_else(|_| Verdict::fault(FaultKind::Lost)),
                Err(_elapsed) => match self.ticket.late() {
                    Late::GiveUp => return too_late(plugin),
                    Late::Running => {
                        return self
                            .verdict
                            .await
                            .unwrap_or_else(|_| Verdict::fault(FaultKind::Lost));
                    }
                    Late::Rebuilding if budget == wait_max && wait_max < REBUILD_WAIT_MAX => {
                        budget = REBUILD_WAIT_MAX;
                    }
                    Late::Rebuilding if self.ticket.give_up() => return too_late(plugin),
                    Late::Rebuilding => {}
                },
            }
        }
    }
}

impl PendingBlocking {
    /// Waits at most `wait_max` for a start, and then for the verdict of a job that has `cpu` to use: a thread that
    /// serves requests stands still meanwhile.
    pub(crate) fn wait(self, plugin: &str, wait_max: Duration, cpu: Duration) -> Verdict {
        let lost = || Verdict::fault(FaultKind::Lost);
        match self.verdict.recv_timeout(wait_max) {
            Ok(verdict) => return verdict,
            Err(RecvTimeoutError::Disconnected) => return lost(),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if matches!(self.ticket.late(), Late::GiveUp) {
            return too_late(plugin);
        }
        match self.verdict.recv_timeout(cpu.saturating_add(BUSY_SLACK)) {
            Ok(verdict) => verdict,
            Err(RecvTimeoutError::Disconnected) => lost(),
            Err(RecvTimeoutError::Timeout) => {
                self.ticket.0.store(ABANDONED, Ordering::Release);
                PluginFault {
                    plugin,
                    kind: FaultKind::Lost.as_str(),
                    detail: "a response's body was not judged within the wait budget and the job's CPU time",
                }
                .emit();
                lost()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_blocking_wait_ends_when_a_job_that_runs_never_answers() {
        let (waiter, pending) = pair_blocking();
        assert!(waiter.start());
        let begun = Instant::now();
        let verdict = pending.wait("never", Duration::from_millis(1), Duration::from_millis(1));
        assert_eq!(verdict.decision, crate::Decision::Fault(FaultKind::Lost));
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(waiter.gone());
    }

    #[test]
    fn a_blocking_wait_ends_when_no_thread_takes_the_job() {
        let (waiter, pending) = pair_blocking();
        let verdict = pending.wait("queued", Duration::from_millis(1), Duration::from_secs(60));
        assert_eq!(
            verdict.decision,
            crate::Decision::Fault(FaultKind::QueueWait)
        );
        assert!(!waiter.start());
    }
}
