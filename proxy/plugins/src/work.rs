//! What a thread of the pool does with a job.

use crate::guest::{Fault, Guest};
use crate::host::Core;
use crate::limits::{LINGER_MAX, VERDICT_MAX};
use crate::plugin::Plugin;
use crate::pool::{Act, Job, NewRequest, Task};
use crate::slot::{Slot, Taken};
use crate::source::Source;
use crate::spec::Inspect;
use crate::state::CallResponse;
use crate::stream::{Phase, Stream};
use crate::ticket::Waiter;
use crate::verdict::{Decision, FaultKind};
use crate::{HttpCallRequest, LateEvent};
use aegis_telemetry::events::PluginFault;
use aegis_telemetry::metrics::PLUGIN_CONTEXTS_LOST;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Does jobs until the pool stops.
pub(crate) fn run(core: &Core) {
    while let Some(job) = core.queue.pop() {
        let (source, long) = (job.source, job.long);
        one(job);
        core.queue.done(source, long);
    }
}

fn one(job: Job) {
    let plugin = job.plugin.clone();
    if let Task::Request(request) = &job.task
        && request.waiter.gone()
    {
        // It may have been let through in place of another that waits for an instance.
        return plugin.unpark();
    }
    let Some(job) = plugin.with_spare(job) else {
        return;
    };
    let found = match &job.task {
        Task::Request(_) => plugin.acquire(job),
        Task::Bound(slot, _) => {
            let slot = slot.clone();
            match slot.take_for(job) {
                Taken::Guest(guest, job) => Some((slot, guest, job)),
                Taken::Queued => None,
                Taken::Gone(job) => {
                    job.fail(FaultKind::Lost);
                    None
                }
            }
        }
    };
    let Some((slot, guest, job)) = found else {
        return;
    };
    let running = guest.running();
    let mut desk = Desk {
        plugin: &plugin,
        slot: &slot,
        guest,
        site: job.site,
        culprit: None,
        spent: Duration::ZERO,
    };
    // A panic of ours must cost one instance, not a thread of the pool.
    let result = catch_unwind(AssertUnwindSafe(|| desk.task(job.task)));
    drop(running);
    plugin.counters.jobs.inc();
    desk.guest.state().rest();
    match result {
        Ok(Ok(End::Idle)) => plugin.put_back(&slot, desk.guest),
        Ok(Ok(End::LetGo)) => {
            let streams = std::mem::take(&mut desk.guest.state().streams);
            lose(&plugin, streams, None, FaultKind::Lost);
            plugin.let_go(&slot, desk.guest, "memory");
        }
        Ok(Err(fault)) => desk.fault(&fault),
        Err(_panic) => desk.fault(&Fault {
            kind: FaultKind::Trap,
            detail: "a host function panicked; this is a bug of Aegis".into(),
        }),
    }
}

/// What becomes of the instance after a job.
enum End {
    Idle,
    LetGo,
}

/// An instance on a thread.
struct Desk<'a> {
    plugin: &'a Arc<Plugin>,
    slot: &'a Arc<Slot>,
    guest: Box<Guest>,
    site: Arc<str>,
    /// The stream whose callback runs.
    culprit: Option<u32>,
    /// CPU time of the job so far.
    spent: Duration,
}

impl Desk<'_> {
    fn task(&mut self, task: Task) -> Result<End, Fault> {
        match task {
            Task::Request(request) => self.request(*request)?,
            Task::Bound(_, act) => match act {
                Act::Step {
                    id,
                    step,
                    more,
                    body_len,
                    waiter,
                } => {
                    if !waiter.start() {
                        return Ok(End::Idle);
                    }
                    self.guest.begin(self.plugin.budget(body_len));
                    match self.guest.stream(id) {
                        Some(stream) => {
                            stream.steps.push_back(step);
                            stream.more = more;
                            stream.waiter = Some(waiter);
                            self.go_on(id)?;
                        }
                        None => waiter.fault(FaultKind::Lost),
                    }
                }
                Act::Close { id } => {
                    // Its time begins now: the thread has done other things since this instance's last job.
                    self.guest.begin(self.plugin.budget(0));
                    self.finish(id)?;
                }
                Act::HttpResponse { token, response } => {
                    self.guest.begin(self.plugin.budget(response.body.len()));
                    self.culprit = self.guest.state().calls.pending.get(&token).copied();
                    self.guest.http_response(token, response)?;
                    self.culprit = None;
                    self.after_call();
                }
                Act::Expire { id } => {
                    self.guest.begin(self.plugin.budget(0));
                    self.expire(id)?;
                }
                Act::Tick => {
                    self.slot.tick_waits.store(false, Ordering::Release);
                    self.guest.begin(self.plugin.budget(0));
                    self.guest.tick()?;
                }
                Act::QueuesReady => self.queues_ready()?,
                Act::Retire => return Ok(End::LetGo),
            },
        }
        self.settle()?;
        self.tally();
        Ok(End::Idle)
    }

    fn request(&mut self, request: NewRequest) -> Result<(), Fault> {
        if !request.waiter.start() {
            return Ok(());
        }
        self.guest.begin(self.plugin.budget(request.body_len));
        let mut stream = Stream::new(request.head, request.properties, request.steps);
        stream.more = request.more;
        stream.waiter = Some(request.waiter);
        let id = self.guest.open(stream).map_err(|(id, fault)| {
            self.culprit = Some(id);
            fault
        })?;
        self.go_on(id)?;
        self.tally();
        self.plugin.learn(request.weight, self.spent);
        Ok(())
    }

    /// Runs the callbacks of a stream, and answers whoever waits for it when they are through.
    fn go_on(&mut self, id: u32) -> Result<(), Fault> {
        self.culprit = Some(id);
        let progress = self.guest.advance(id)?;
        let crate::drive::Progress::Settled { decision, held } = progress else {
            self.wait(id);
            return Ok(());
        };
        self.culprit = None;
        if let Decision::Fault(kind) = decision {
            PluginFault {
                plugin: self.plugin.name(),
                kind: kind.as_str(),
                detail: "the module paused a stream, and nothing would ever have resumed it",
            }
            .emit();
        }
        let inspects = self.plugin.inspect != Inspect::Off;
        let Some(stream) = self.guest.stream(id) else {
            return Ok(());
        };
        let (in_request, more) = (stream.in_request(), stream.more);
        let source = Source::of(stream.head.source.ip());
        let Some(waiter) = stream.waiter.take() else {
            return Ok(());
        };
        let first = !std::mem::replace(&mut stream.handed_over, true);
        let open = decision == Decision::Continue && (more || inspects || !in_request);
        let mut verdict = self.guest.verdict(id, decision, held, !more);
        if first && open {
            verdict.open = Some(self.plugin.context(self.slot, &self.site, source, id));
        }
        waiter.send(verdict);
        if open || !first {
            return Ok(());
        }
        self.finish(id)
    }

    /// The stream waits for an HTTP call: no instance is held meanwhile, but not for ever.
    fn wait(&mut self, id: u32) {
        let used = self.guest.state().budget.used();
        let Some(stream) = self.guest.stream(id) else {
            return;
        };
        stream.cpu += used;
        let Some(waiter) = &mut stream.waiter else {
            return;
        };
        if waiter.expiry.is_none() {
            let left = VERDICT_MAX.saturating_sub(waiter.asked.elapsed());
            let expiry = self.later(id, left);
            if let Some(waiter) = self.guest.stream(id).and_then(|s| s.waiter.as_mut()) {
                waiter.expiry = Some(expiry);
            }
        }
    }

    /// Looks at the stream again after a while.
    fn later(&self, id: u32, after: Duration) -> tokio::task::AbortHandle {
        let (plugin, slot) = (Arc::downgrade(self.plugin), Arc::downgrade(self.slot));
        let site = self.site.clone();
        let task = self.plugin.core.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            if let (Some(plugin), Some(slot)) = (plugin.upgrade(), slot.upgrade()) {
                let act = Act::Expire { id };
                plugin
                    .core
                    .queue
                    .push_bound(Job::bound(&plugin, &slot, &site, act));
            }
        });
        task.abort_handle()
    }

    fn expire(&mut self, id: u32) -> Result<(), Fault> {
        let Some(stream) = self.guest.stream(id) else {
            return Ok(());
        };
        if stream.phase == Phase::Done {
            stream.lingering = false;
            return self.finish(id);
        }
        let handed_over = stream.handed_over;
        // The wait this job was for may have ended while it was queued, and another one begun.
        let over = |waiter: &mut Waiter| waiter.asked.elapsed() >= VERDICT_MAX;
        let Some(waiter) = stream.waiter.take_if(over) else {
            return Ok(());
        };
        stream.steps.clear();
        PluginFault {
            plugin: self.plugin.name(),
            kind: FaultKind::Deadline.as_str(),
            detail: "the whole verdict, with its HTTP calls, took too long",
        }
        .emit();
        waiter.fault(FaultKind::Deadline);
        if handed_over { Ok(()) } else { self.finish(id) }
    }

    /// Streams that were waiting and have nothing left to wait for.
    fn after_call(&mut self) {
        let state = self.guest.state();
        if state.calls.pending.is_empty() {
            let waiting = state.streams.iter().filter(|(_, s)| s.waiter.is_some());
            let ids: Vec<u32> = waiting.map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| state.touch(id));
        }
    }

    /// What callbacks left behind: calls to send, queues to announce, other streams they resumed.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let state = self.guest.state();
            let calls = std::mem::take(&mut state.calls.outbox);
            let queues = std::mem::take(&mut state.queues_ready);
            let touched = std::mem::take(&mut state.touched);
            send_calls(self.plugin, self.slot, &self.site, calls);
            if !queues.is_empty() {
                self.plugin.queues_ready(&queues);
            }
            if touched.is_empty() {
                return Ok(());
            }
            for id in touched {
                match self.guest.stream(id) {
                    Some(stream) if stream.phase == Phase::Done => self.finish(id)?,
                    Some(stream) if stream.waiter.is_some() => self.go_on(id)?,
                    _ => {}
                }
            }
        }
    }

    fn queues_ready(&mut self) -> Result<(), Fault> {
        for id in self.plugin.take_queues_ready() {
            self.guest.begin(self.plugin.budget(0));
            if self.guest.queue_ready(id)? {
                self.plugin.queues_ready(&[id]);
            }
        }
        Ok(())
    }

    /// Ends a stream; what the module says after the verdict goes to the host's late events.
    fn finish(&mut self, id: u32) -> Result<(), Fault> {
        self.tally();
        self.culprit = None;
        let Some(mut stream) = self.guest.finish(id)? else {
            if self.guest.stream(id).is_some() {
                self.later(id, LINGER_MAX);
            }
            return Ok(());
        };
        if let Some(late) = &self.plugin.core.late_events {
            for event in stream.take_events() {
                late(LateEvent {
                    plugin: self.plugin.vm.name.clone(),
                    head: stream.head.clone(),
                    properties: stream.properties.clone(),
                    event,
                });
            }
        }
        Ok(())
    }

    /// Counts the CPU time so far, and gives what follows its own.
    fn tally(&mut self) {
        let used = self.guest.state().budget.used();
        self.plugin
            .counters
            .cpu_micros
            .inc_by(u64::try_from(used.as_micros()).unwrap_or_default());
        self.spent += used;
        self.guest.begin(self.plugin.budget(0));
    }

    /// The instance broke: it ends at once, with all that is open in it.
    fn fault(mut self, fault: &Fault) {
        self.tally();
        PluginFault {
            plugin: self.plugin.name(),
            kind: fault.kind.as_str(),
            detail: &fault.detail,
        }
        .emit();
        let streams = std::mem::take(&mut self.guest.state().streams);
        drop(self.guest);
        let was_root = self.plugin.is_root(self.slot);
        self.plugin.ended(self.slot, "fault");
        self.plugin.replace_ended(was_root);
        lose(self.plugin, streams, self.culprit, fault.kind);
    }
}

/// Tells everybody with a stream in an instance that is no more.
fn lose(plugin: &Plugin, streams: HashMap<u32, Stream>, culprit: Option<u32>, kind: FaultKind) {
    let others = streams
        .iter()
        .filter(|(id, stream)| culprit != Some(**id) && stream.phase != Phase::Done);
    let lost = u64::try_from(others.count()).unwrap_or_default();
    PLUGIN_CONTEXTS_LOST.with(&[plugin.name()]).inc_by(lost);
    for (id, stream) in streams {
        let kind = if culprit == Some(id) {
            kind
        } else {
            FaultKind::Lost
        };
        if let Some(waiter) = stream.waiter {
            waiter.fault(kind);
        }
    }
}

/// Sends HTTP calls; their answers come back as jobs.
pub(crate) fn send_calls(
    plugin: &Arc<Plugin>,
    slot: &Arc<Slot>,
    site: &Arc<str>,
    calls: Vec<(u32, HttpCallRequest)>,
) {
    for (token, request) in calls {
        let (timeout, max) = (request.timeout, request.response_max);
        let call = plugin.core.http.call(request);
        let (name, site) = (plugin.vm.name.clone(), site.clone());
        let (weak_plugin, weak_slot) = (Arc::downgrade(plugin), Arc::downgrade(slot));
        plugin.core.runtime.spawn(async move {
            let response = match tokio::time::timeout(timeout, call).await {
                Ok(Ok(response)) if response.body.len() <= max => Some(response),
                Ok(Ok(_)) => {
                    crate::limits::hit("plugin_http_call_response");
                    None
                }
                Ok(Err(error)) => {
                    tracing::debug!(plugin = %name, %error, "HTTP call of a plugin failed");
                    None
                }
                Err(_elapsed) => {
                    tracing::debug!(plugin = %name, ?timeout, "HTTP call of a plugin took too long");
                    None
                }
            };
            if let (Some(plugin), Some(slot)) = (weak_plugin.upgrade(), weak_slot.upgrade()) {
                let response = CallResponse::new(response);
                plugin.core.queue.push_bound(Job::bound(&plugin, &slot, &site, Act::HttpResponse { token, response }));
            }
        });
    }
}
