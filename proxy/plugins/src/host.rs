//! The host: threads, compiled modules, and what plugins share. The way from a spec to a running plugin is in [`prepare`],
//! what can be told of it in [`report`].

mod prepare;
mod report;

pub use report::{Made, Report, Running, Stage, Standing};

use crate::builder::{self, Builder};
use crate::calls::HttpCalls;
use crate::compiled::Compiled;
use crate::engine::Engines;
use crate::limits::THREAD_STACK;
use crate::plugin::Plugin;
use crate::pool::{NICE_POOL, Queue, be_nice};
use crate::spec::{Properties, RequestHead};
use crate::verdict::ForeignEvent;
use crate::{PluginError, work};
use parking_lot::Mutex;
use report::Reports;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

/// What the host needs to know.
pub struct HostConfig {
    /// Threads that run plugins; 0 = one less than the machine has cores, at least two.
    pub threads: usize,
    /// Requests waiting for a thread.
    pub queue_max: usize,
    /// Longest wait for a thread.
    pub wait_max: Duration,
    /// Where compiled modules are kept.
    pub cache_dir: PathBuf,
    /// Timers and HTTP calls run here; needs tokio's time.
    pub runtime: tokio::runtime::Handle,
    /// Where `proxy_http_call` goes.
    pub http: Arc<dyn HttpCalls>,
    /// Told of events a module sends after the verdict (`proxy_on_done`, `proxy_on_log`).
    pub late_events: Option<Arc<dyn Fn(LateEvent) + Send + Sync>>,
}

/// An event that came after the verdict.
#[derive(Debug, Clone)]
pub struct LateEvent {
    /// The plugin.
    pub plugin: Arc<str>,
    /// The request.
    pub head: Arc<RequestHead>,
    /// Its properties.
    pub properties: Arc<Properties>,
    /// What it says.
    pub event: ForeignEvent,
}

/// What plugins and threads share.
pub(crate) struct Core {
    pub(crate) queue: Queue,
    pub(crate) builder: Builder,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) http: Arc<dyn HttpCalls>,
    pub(crate) late_events: Option<Arc<dyn Fn(LateEvent) + Send + Sync>>,
    pub(crate) threads: usize,
    pub(crate) queue_max: usize,
    pub(crate) wait_max: Duration,
    /// Instances on their way out.
    pub(crate) retiring: AtomicUsize,
    /// Instances that serve one request each, of all plugins.
    pub(crate) alone: Arc<AtomicUsize>,
}

/// Held by each of the host's threads; nothing is ever sent.
pub(crate) type Alive = Sender<()>;

/// How long dropping a host waits for its threads. A guest notices within 50 ms of its time that it is to end; a thread that does not is left to end by itself.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// Runs plugins.
///
/// Dropping it ends its threads, the guests that run on them, and jobs that wait; requests to its plugins are refused
/// from then on. It waits half a second at most.
pub struct Host {
    core: Arc<Core>,
    engines: Engines,
    compiled: Compiled,
    plugins: Mutex<HashMap<[u8; 32], Weak<Plugin>>>,
    reports: Reports,
    /// One plugin is made ready at a time: compiling takes all cores anyway.
    one: Mutex<()>,
    threads: Vec<Thread>,
    /// Disconnected when all threads have ended. Only the drop looks at it.
    ended: Mutex<Receiver<()>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("threads", &self.core.threads)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Starts the threads and opens the folder of compiled modules.
    pub fn new(config: HostConfig) -> Result<Arc<Self>, PluginError> {
        let failed = |error: std::io::Error| PluginError::Host(error.to_string());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = match config.threads {
            // With one thread, one slow body would have all other requests refused for as long as it is judged; a
            // second one costs those that serve little, since both give way to them.
            0 => cores.saturating_sub(1).max(2),
            threads => threads,
        };
        let core = Arc::new(Core {
            queue: Queue::new(config.queue_max, threads, config.wait_max),
            builder: Builder::default(),
            runtime: config.runtime,
            http: config.http,
            late_events: config.late_events,
            threads,
            queue_max: config.queue_max.max(1),
            wait_max: config.wait_max,
            retiring: AtomicUsize::new(0),
            alone: Arc::default(),
        });
        let (alive, ended) = channel();
        let mut host = Self {
            engines: Engines::start().map_err(failed)?,
            compiled: Compiled::open(&config.cache_dir)?,
            plugins: Mutex::default(),
            reports: Reports::default(),
            one: Mutex::default(),
            threads: Vec::new(),
            ended: Mutex::new(ended),
            core,
        };
        for n in 0..threads {
            let (core, alive) = (host.core.clone(), alive.clone());
            let builder = thread::Builder::new()
                .name(format!("aegis-plugin-{n}"))
                .stack_size(THREAD_STACK);
            let thread = builder.spawn(move || {
                let _alive = alive;
                be_nice(NICE_POOL);
                work::run(&core);
            });
            host.threads.push(thread.map_err(failed)?.thread().clone());
        }
        host.threads
            .push(builder::spawn(&host.core, alive).map_err(failed)?);
        Ok(Arc::new(host))
    }
}

/// Many threads hold it.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Host>();
};

impl Drop for Host {
    fn drop(&mut self) {
        self.engines.ticker().end_guests();
        self.core.queue.stop();
        self.core.builder.stop();
        let running: Vec<_> = self.plugins.get_mut().drain().collect();
        for plugin in running.iter().filter_map(|(_, plugin)| plugin.upgrade()) {
            plugin.refuse_parked();
        }
        let here = thread::current().id();
        if self.threads.iter().any(|thread| thread.id() == here) {
            // The last reference went on one of these threads; it cannot wait for itself.
            return;
        }
        if self.ended.get_mut().recv_timeout(STOP_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a plugin thread is still busy; it is left to end by itself");
        }
    }
}
