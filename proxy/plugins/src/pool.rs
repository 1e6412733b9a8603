//! The pool's queue and threads.
//!
//! The queue is fair by site: sites take turns, whatever their number of jobs. A site's jobs that are bound to an
//! instance (more body, a response, the answer of an HTTP call) go before its new requests, and are not counted against
//! the queue's length: there are never more than a few for each open context. When the queue is full, the newest request
//! of the site with the most of them makes room.
//!
//! Of the jobs that wait, those go first whose source has none running, and no source ever holds the last thread
//! ([`crate::source`]).

use crate::plugin::Plugin;
use crate::slot::Slot;
use crate::source::{Running, Source};
use crate::spec::{Properties, RequestHead};
use crate::state::CallResponse;
use crate::stream::Step;
use crate::ticket::Waiter;
use crate::verdict::FaultKind;
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
    cost: u64,
    running: Running,
    stopped: bool,
}

/// Where a job is in its lane.
enum Place {
    Bound(usize),
    Request(usize),
}

#[derive(Default)]
struct Lane {
    bound: VecDeque<Job>,
    requests: VecDeque<Job>,
    cost: u64,
}

impl Queue {
    pub(crate) fn new(max: usize, threads: usize, wait_max: Duration) -> Self {
        Self {
            inner: Mutex::new(Inner {
                lanes: HashMap::new(),
                turns: VecDeque::new(),
                requests: 0,
                cost: 0,
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
        } else if inner.expected_wait(&job.site, self.threads) > self.wait_max {
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
    pub(crate) fn done(&self, source: Option<Source>) {
        if source.is_some() {
            self.inner.lock().running.end(source);
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
        self.cost = self.cost.saturating_add(job.cost);
        PLUGIN_QUEUE_LENGTH.set(i64::try_from(self.requests).unwrap_or(i64::MAX));
        let lane = self.lane(&job.site.clone());
        lane.cost = lane.cost.saturating_add(job.cost);
        lane.requests.push_back(job);
    }

    fn removed(&mut self, cost: u64) {
        self.requests = self.requests.saturating_sub(1);
        self.cost = self.cost.saturating_sub(cost);
        PLUGIN_QUEUE_LENGTH.set(i64::try_from(self.requests).unwrap_or(i64::MAX));
    }

    /// Takes out the next job whose source may have one more running.
    fn next(&mut self) -> Option<Job> {
        let (turn, place) = self
            .find(Running::is_idle)
            .or_else(|| self.find(Running::has_room))?;
        let site = self.turns.remove(turn)?;
        let lane = self.lanes.get_mut(&site)?;
        let (job, cost) = match place {
            Place::Bound(at) => (lane.bound.remove(at), None),
            Place::Request(at) => {
                let job = lane.requests.remove(at);
                let cost = job.as_ref().map(|job| job.cost);
                (job, cost)
            }
        };
        if let Some(cost) = cost {
            lane.cost = lane.cost.saturating_sub(cost);
        }
        if lane.bound.is_empty() && lane.requests.is_empty() {
            self.lanes.remove(&site);
        } else {
            self.turns.push_back(site);
        }
        if let Some(cost) = cost {
            self.removed(cost);
        }
        self.running.begin(job.as_ref().and_then(|job| job.source));
        job
    }

    /// The first job in turn whose source is as asked for. Those of one source keep their order.
    fn find(&self, may: fn(&Running, Option<Source>) -> bool) -> Option<(usize, Place)> {
        let first =
            |jobs: &VecDeque<Job>| jobs.iter().position(|job| may(&self.running, job.source));
        self.turns.iter().enumerate().find_map(|(turn, site)| {
            let lane = self.lanes.get(site)?;
            let bound = first(&lane.bound).map(Place::Bound);
            let place = bound.or_else(|| first(&lane.requests).map(Place::Request))?;
            Some((turn, place))
        })
    }

    fn waiting(&self, site: &str) -> usize {
        self.lanes.get(site).map_or(0, |lane| lane.requests.len())
    }

    fn longest(&self) -> Option<Arc<str>> {
        let longest = self
            .lanes
            .iter()
            .max_by_key(|(_, lane)| lane.requests.len());
        longest.map(|(site, _)| site.clone())
    }

    fn drop_newest(&mut self, site: &str) -> Option<Job> {
        let lane = self.lanes.get_mut(site)?;
        let job = lane.requests.pop_back()?;
        lane.cost = lane.cost.saturating_sub(job.cost);
        self.removed(job.cost);
        Some(job)
    }

    /// How long a request of this site would wait: for what its own lane holds, with all other sites taking their turns
    /// in between, but never for more than there is.
    fn expected_wait(&self, site: &str, threads: u64) -> Duration {
        let sites = u64::try_from(self.turns.len().max(1)).unwrap_or(1);
        let own = self.lanes.get(site).map_or(0, |lane| lane.cost);
        let ahead = own.saturating_mul(sites).min(self.cost);
        Duration::from_nanos(ahead / threads)
    }
}

#[cfg(test)]
mod tests;
