//! What all instances of one plugin share: data, queues, metrics, native patterns, the tick period, the rate of its log.
//!
//! In Envoy these belong to a VM id; here a plugin is its own VM. Data and queues are kept by site, so that one origin
//! owner neither reads nor fills what belongs to another; what a root context writes is under no site, and every site
//! may read it.

mod data;
mod metrics;
mod queues;

pub(crate) use data::{SetError, SharedData};
pub(crate) use metrics::{MetricError, Metrics};
pub(crate) use queues::{QueueError, SharedQueues};

use crate::limits::LOG_LINES_PER_SECOND;
use crate::native::Patterns;
use aegis_telemetry::metrics::PLUGIN_LOG_DROPPED;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// State of a plugin outside of its instances.
pub(crate) struct Vm {
    pub(crate) name: Arc<str>,
    pub(crate) config: Bytes,
    pub(crate) http_call: Vec<String>,
    pub(crate) body_max: usize,
    pub(crate) data: SharedData,
    pub(crate) queues: SharedQueues,
    pub(crate) metrics: Metrics,
    pub(crate) patterns: Patterns,
    tick_ms: AtomicU32,
    /// Signalled when the tick period changes.
    pub(crate) tick_changed: Notify,
    log: Mutex<Window>,
}

struct Window {
    since: Instant,
    lines: u32,
}

impl Vm {
    pub(crate) fn new(spec: &crate::PluginSpec) -> Self {
        Self {
            name: spec.name.as_str().into(),
            config: spec.config.clone(),
            http_call: spec.http_call.clone(),
            body_max: usize::try_from(spec.body_max).unwrap_or(usize::MAX),
            data: SharedData::default(),
            queues: SharedQueues::default(),
            metrics: Metrics::new(&spec.name),
            patterns: Patterns::default(),
            tick_ms: AtomicU32::new(0),
            tick_changed: Notify::new(),
            log: Mutex::new(Window {
                since: Instant::now(),
                lines: 0,
            }),
        }
    }

    /// Zero ends the ticks.
    pub(crate) fn set_tick(&self, period_ms: u32) {
        if self.tick_ms.swap(period_ms, Ordering::Relaxed) != period_ms {
            self.tick_changed.notify_one();
        }
    }

    pub(crate) fn tick_ms(&self) -> u32 {
        self.tick_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn tick(&self) -> Option<Duration> {
        let period = self.tick_ms.load(Ordering::Relaxed);
        (period > 0).then(|| Duration::from_millis(period.into()).max(crate::limits::TICK_MIN))
    }

    /// Whether the plugin may write a log line now; one that may not is counted.
    pub(crate) fn may_log(&self) -> bool {
        let mut window = self.log.lock();
        if window.since.elapsed() >= Duration::from_secs(1) {
            *window = Window {
                since: Instant::now(),
                lines: 0,
            };
        }
        window.lines = window.lines.saturating_add(1);
        let may = window.lines <= LOG_LINES_PER_SECOND;
        if !may {
            PLUGIN_LOG_DROPPED.with(&[&self.name]).inc();
        }
        may
    }
}
