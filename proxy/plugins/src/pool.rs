//! The pool's queue and threads.
//!
//! The queue is fair by site: sites take turns, whatever their number of jobs. A site's jobs that are bound to an
//! instance (more body, a response, the answer of an HTTP call) go before its new requests, and are not counted against
//! the queue's length: there are never more than a few for each open context. When the queue is full, the newest request
//! of the site with the most of them makes room.
//!
//! Of the jobs that wait, those go first whose source has none running. Long jobs ([`crate::weight`]) have a lane of their
//! own: they never hold the last thread ([`crate::source`]), short ones go past them, and they may wait longer.

use crate::plugin::Plugin;
use crate::slot::Slot;
use crate::source::{Running, Source};
use crate::spec::{Properties, RequestHead};
use crate::state::CallResponse;
use crate::stream::Step;
use crate::ticket::Waiter;
use crate::verdict::FaultKind;
use crate::weight::Weight;
use aegis_telemetry::events::PluginFault;
use aegis_telemetry::metrics::{PLUGIN_QUEUE_LENGTH, PLUGIN_QUEUE_WAIT};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads of the pool give way to those that serve.
pub(crate) const NICE_POOL: i32 = 5;
/// Compiling and configuring give way to both.
pub(crate) const NICE_COMPILE: i32 = 10;

/// Lowers the priority of the calling thread.
pub(crate) fn be_nice(by: i32) {
    // On Linux `None` is the calling thread, not the process (setpriority(2), NOTES).
    if let Err(error) = rustix::process::setpriority_process(None, by) {
        tracing::debug!(%error, "priority of a plugin thread cannot be lowered");
    }
}

/// Something for a thread to do.
pub(crate) struct Job {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) site: Arc<str>,
    /// For whom; none if it is for nobody in particular.
    pub(crate) source: Option<Source>,
    pub(crate) task: Task,
    pub(crate) queued: Instant,
    /// CPU time it is expected to take, in nanoseconds.
    pub(crate) cost: u64,
    /// It is expected to hold a thread for long.
    pub(crate) long: bool,
}

/// How much longer a long job may wait than a short one: it takes longer, and so did sending it.
const LONG_WAIT: u32 = 10;

/// The longest wait of a job for a thread.
pub(crate) fn wait_of(long: bool, wait_max: Duration) -> Duration {
    if long {
        wait_max.saturating_mul(LONG_WAIT)
    } else {
        wait_max
    }
}

/// What to do.
pub(crate) enum Task {
    /// A new stream, on any instance.
    Request(Box<NewRequest>),
    /// Something for one instance.
    Bound(Arc<Slot>, Act),
}

/// A new stream.
pub(crate) struct NewRequest {
    pub(crate) head: Arc<RequestHead>,
    pub(crate) properties: Arc<Properties>,
    pub(crate) steps: VecDeque<Step>,
    /// More of the request follows.
    pub(crate) more: bool,
    pub(crate) body_len: usize,
    pub(crate) weight: Weight,
    pub(crate) waiter: Waiter,
}

/// Something for one instance.
pub(crate) enum Act {
    /// More of a stream.
    Step {
        id: u32,
        step: Step,
        /// More of the request follows.
        more: bool,
        body_len: usize,
        waiter: Waiter,
    },
    /// The stream is over.
    Close { id: u32 },
    /// An HTTP call ended.
    HttpResponse { token: u32, response: CallResponse },
    /// The whole verdict took too long.
    Expire { id: u32 },
    /// The root's tick.
    Tick,
    /// Queues have items.
    QueuesReady,
    /// Let it go with what is open in it.
    Retire,
}

impl Job {
    /// A job for an instance.
    pub(crate) fn bound(plugin: &Arc<Plugin>, slot: &Arc<Slot>, site: &Arc<str>, act: Act) -> Self {
        Self {
            plugin: plugin.clone(),
            site: site.clone(),
            source: None,
            task: Task::Bound(slot.clone(), act),
            queued: Instant::now(),
            cost: 0,
            long: false,
        }
    }

    /// Who waits for it.
    pub(crate) fn waiter(&self) -> Option<&Waiter> {
        match &self.task {
            Task::Request(request) => Some(&request.waiter),
            Task::Bound(_, Act::Step { waiter, .. }) => Some(waiter),
            Task::Bound(..) => None,
        }
    }

    /// Ends the job without doing it.
    pub(crate) fn fail(self, kind: FaultKind) {
        let waiter = match self.task {
            Task::Request(request) => request.waiter,
            Task::Bound(_, Act::Step { waiter, .. }) => waiter,
            Task::Bound(..) => return,
        };
        if !waiter.gone() {
            PluginFault {
                plugin: &self.plugin.vm.name,
                kind: kind.as_str(),
                detail: "a job of the plugin pool was not done",
            }
            .emit();
            waiter.fault(kind);
        }
    }
}

/// Jobs by site.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    ready: Condvar,
    max: usize,
    threads: u64,
    wait_max: Duration,
}

struct Inner {
    lanes: HashMap<Arc<str>, Lane>,
    /// Sites with jobs, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    requests: usize,
    cost: Cost,
    running: Running,
    stopped: bool,
}

/// What waits, in nanoseconds of CPU.
#[derive(Default)]
struct Cost {
    short: u64,
    long: u64,
}

impl Cost {
    fn of(&self, long: bool) -> u64 {
        if long { self.long } else { self.short }
    }

    fn add(&mut self, job: &Job) {
        let of = if job.long {
            &mut self.long
        } else {
            &mut self.short
        };
        *of = of.saturating_add(job.cost);
    }

    fn sub(&mut self, job: &Job) {
        let of = if job.long {
            &mut self.long
        } else {
            &mut self.short
        };
        *of = of.saturating_sub(job.cost);
    }
}

/// Where a job is in its lane.
enum Place {
    Bound(usize),
    Request(usize),
    Long(usize),
}

#[derive(Default)]
struct Lane {
    bound: VecDeque<Job>,
    requests: VecDeque<Job>,
    /// Requests that are long.
    long: VecDeque<Job>,
    cost: Cost,
}

impl Lane {
    fn waiting(&self) -> usize {
        self.requests.len() + self.long.len()
    }
}

impl Queue {
    pub(crate) fn new(max: usize, threads: usize, wait_max: Duration) -> Self {
        Self {
            inner: Mutex::new(Inner {
                lanes: HashMap::new(),
                turns: VecDeque::new(),
                requests: 0,
                cost: Cost::default(),
                running: Running::new(threads),
                stopped: false,
            }),
            ready: Condvar::new(),
            max: max.max(1),
            threads: u64::try_from(threads.max(1)).unwrap_or(1),
            wait_max,
        }
    }

    /// Takes in a new request, or ends it with the reason.
    pub(crate) fn push(&self, job: Job) {
        let mut inner = self.inner.lock();
        let refused = if inner.stopped {
            Some((job, FaultKind::Refused))
        } else if inner.expected_wait(&job, self.threads) > wait_of(job.long, self.wait_max) {
            Some((job, FaultKind::QueueWait))
        } else if inner.requests < self.max {
            inner.add_request(job);
            None
        } else {
            // Full: the site that has most gives one up; if that is this one, its newest is this job.
            match inner.longest().filter(|longest| *longest != job.site) {
                Some(longest) if inner.waiting(&job.site) + 1 < inner.waiting(&longest) => {
                    let out = inner.drop_newest(&longest);
                    inner.add_request(job);
                    out.map(|out| (out, FaultKind::QueueFull))
                }
                _ => Some((job, FaultKind::QueueFull)),
            }
        };
        drop(inner);
        self.ready.notify_one();
        if let Some((job, kind)) = refused {
            job.fail(kind);
        }
    }

    /// Takes in a job for an instance, or one that has waited its turn already.
    pub(crate) fn push_bound(&self, job: Job) {
        let mut inner = self.inner.lock();
        if inner.stopped {
            drop(inner);
            return job.fail(FaultKind::Refused);
        }
        inner.lane(&job.site.clone()).bound.push_back(job);
        drop(inner);
        self.ready.notify_one();
    }

    /// The next job; none when the pool stops.
    pub(crate) fn pop(&self) -> Option<Job> {
        let mut inner = self.inner.lock();
        loop {
            if inner.stopped {
                return None;
            }
            if let Some(job) = inner.next() {
                drop(inner);
                PLUGIN_QUEUE_WAIT.observe(job.queued.elapsed().as_secs_f64());
                return Some(job);
            }
            self.ready.wait(&mut inner);
        }
    }

    /// A job that was taken out is over.
    pub(crate) fn done(&self, source: Option<Source>, long: bool) {
        if source.is_some() || long {
            self.inner.lock().running.end(source, long);
            // What waited for it may be for another thread than this one.
            self.ready.notify_one();
        }
    }

    /// Ends all jobs and all threads.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stopped = true;
        let lanes = std::mem::take(&mut inner.lanes);
        inner.turns.clear();
        drop(inner);
        self.ready.notify_all();
        PLUGIN_QUEUE_LENGTH.set(0);
        for lane in lanes.into_values() {
            lane.bound
                .into_iter()
                .chain(lane.requests)
                .chain(lane.long)
                .for_each(|job| job.fail(FaultKind::Refused));
        }
    }
}

impl Inner {
    fn lane(&mut self, site: &Arc<str>) -> &mut Lane {
        if !self.lanes.contains_key(site) {
            self.turns.push_back(site.clone());
        }
        self.lanes.entry(site.clone()).or_default()
    }

    fn add_request(&mut self, job: Job) {
        self.requests += 1;
        self.cost.add(&job);
        PLUGIN_QUEUE_LENGTH.set(i64::try_from(self.requests).unwrap_or(i64::MAX));
        let lane = self.lane(&job.site.clone());
        lane.cost.add(&job);
        if job.long {
            lane.long.push_back(job);
        } else {
            lane.requests.push_back(job);
        }
    }

    fn removed(&mut self, job: &Job) {
        self.requests = self.requests.saturating_sub(1);
        self.cost.sub(job);
        PLUGIN_QUEUE_LENGTH.set(i64::try_from(self.requests).unwrap_or(i64::MAX));
    }

    /// Takes out the next job that may run beside those that do.
    fn next(&mut self) -> Option<Job> {
        let (turn, place) = self
            .find(Running::is_idle)
            .or_else(|| self.find(Running::has_room))?;
        let site = self.turns.remove(turn)?;
        let lane = self.lanes.get_mut(&site)?;
        let bound = matches!(place, Place::Bound(_));
        let job = match place {
            Place::Bound(at) => lane.bound.remove(at),
            Place::Request(at) => lane.requests.remove(at),
            Place::Long(at) => lane.long.remove(at),
        };
        if let Some(job) = job.as_ref().filter(|_| !bound) {
            lane.cost.sub(job);
        }
        if lane.bound.is_empty() && lane.waiting() == 0 {
            self.lanes.remove(&site);
        } else {
            self.turns.push_back(site);
        }
        let job = job?;
        if !bound {
            self.removed(&job);
        }
        self.running.begin(job.source, job.long);
        Some(job)
    }

    /// The first job in turn that may run. Those of one source and one lane keep their order.
    fn find(&self, may: fn(&Running, Option<Source>, bool) -> bool) -> Option<(usize, Place)> {
        let first = |jobs: &VecDeque<Job>| {
            let may = |job: &Job| may(&self.running, job.source, job.long);
            let at = jobs.iter().position(may)?;
            Some((at, jobs.get(at)?.queued))
        };
        let closed = !may(&self.running, None, true);
        self.turns.iter().enumerate().find_map(|(turn, site)| {
            let lane = self.lanes.get(site)?;
            if let Some((at, _)) = first(&lane.bound) {
                return Some((turn, Place::Bound(at)));
            }
            let long = if closed { None } else { first(&lane.long) };
            let place = match (first(&lane.requests), long) {
                (Some((_, short)), Some((at, long))) if long < short => Place::Long(at),
                (Some((at, _)), _) => Place::Request(at),
                (None, long) => Place::Long(long?.0),
            };
            Some((turn, place))
        })
    }

    fn waiting(&self, site: &str) -> usize {
        self.lanes.get(site).map_or(0, Lane::waiting)
    }

    fn longest(&self) -> Option<Arc<str>> {
        let longest = self.lanes.iter().max_by_key(|(_, lane)| lane.waiting());
        longest.map(|(site, _)| site.clone())
    }

    fn drop_newest(&mut self, site: &str) -> Option<Job> {
        let lane = self.lanes.get_mut(site)?;
        let job = lane.long.pop_back().or_else(|| lane.requests.pop_back())?;
        lane.cost.sub(&job);
        self.removed(&job);
        Some(job)
    }

    /// How long a request would wait: for what its site's lane holds of its kind, with all other sites taking their turns
    /// in between, but never for more than there is.
    fn expected_wait(&self, job: &Job, threads: u64) -> Duration {
        let sites = u64::try_from(self.turns.len().max(1)).unwrap_or(1);
        let own = self
            .lanes
            .get(&job.site)
            .map_or(0, |lane| lane.cost.of(job.long));
        let ahead = own.saturating_mul(sites).min(self.cost.of(job.long));
        let held = if job.long {
            // The last thread is not for them.
            threads.saturating_sub(u64::try_from(self.running.long_max()).unwrap_or(threads))
        } else {
            u64::try_from(self.running.long()).unwrap_or(threads)
        };
        Duration::from_nanos(ahead / threads.saturating_sub(held).max(1))
    }
}

#[cfg(test)]
mod tests;
