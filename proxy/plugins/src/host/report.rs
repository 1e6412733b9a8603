//! What can be told of a host's plugins: what is being made ready, what runs and since when, what failed.

use crate::plugin::Plugin;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Failures that are remembered; the oldest go.
const FAILURES_MAX: usize = 16;

/// What can be told of a plugin.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name. Several may have the same: the WAF has one for each set of rules.
    pub plugin: String,
    /// Tells those of one name apart; empty if it could not even be read.
    pub id: String,
    /// How it stands.
    pub standing: Standing,
}

/// How a plugin stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It is being made ready.
    Preparing {
        /** What is being done. */
        stage: Stage,
        /** Since when. */
        since: Instant,
    },
    /// It is ready for requests.
    Ready(Arc<Running>),
    /// It could not be made ready.
    Failed {
        /** Why, as a sentence. */
        reason: String,
        /** When. */
        at: SystemTime,
    },
}

/// What is being done to make a plugin ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading the module.
    Reading,
    /// Compiling it, or loading what was made before.
    Compiling,
    /// Starting and configuring the first instance.
    Configuring,
    /// Making a snapshot of that instance, and compiling it.
    Packing,
}

/// A plugin that is ready.
#[derive(Debug, Clone)]
pub struct Running {
    /// Since when.
    pub since: SystemTime,
    /// How long it took to make it ready.
    pub took: Duration,
    /// Where its machine code, or its snapshot, came from.
    pub made: Made,
    /// How long it takes when nothing of it is on disk, but for what other configurations of the module need too.
    pub built: Duration,
    /// Memory of the snapshot its instances are copies of, in bytes; none if each is configured by itself.
    pub image: Option<u64>,
    /// Why its instances are no copies though they should be.
    pub no_image: Option<String>,
}

/// Where something that takes long to make came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    Built,
    /// It was on disk.
    Cached,
}

/// What is being made ready, and what failed.
#[derive(Default)]
pub(super) struct Reports {
    preparing: Mutex<Vec<(String, Stage, Instant)>>,
    failed: Mutex<Vec<Report>>,
}

/// A plugin that is being made ready, while it lives.
pub(super) struct Progress<'a> {
    reports: &'a Reports,
    plugin: String,
    began: Instant,
}

impl Reports {
    pub(super) fn begin(&self, plugin: &str) -> Progress<'_> {
        let began = Instant::now();
        let entry = (plugin.to_owned(), Stage::Reading, began);
        self.preparing.lock().push(entry);
        Progress {
            reports: self,
            plugin: plugin.to_owned(),
            began,
        }
    }

    /// Remembers that it could not be had; what failed before under this name is forgotten.
    pub(super) fn failed(&self, plugin: &str, id: Option<&[u8; 32]>, reason: String) {
        let mut failed = self.failed.lock();
        failed.retain(|report| report.plugin != plugin);
        if failed.len() >= FAILURES_MAX {
            failed.remove(0);
        }
        failed.push(Report {
            plugin: plugin.to_owned(),
            id: id.map(short).unwrap_or_default(),
            standing: Standing::Failed {
                reason,
                at: SystemTime::now(),
            },
        });
    }

    pub(super) fn succeeded(&self, plugin: &str) {
        self.failed.lock().retain(|report| report.plugin != plugin);
    }

    /// Everything, with the plugins that run.
    pub(super) fn all(
        &self,
        running: impl Iterator<Item = ([u8; 32], Arc<Plugin>)>,
    ) -> Vec<Report> {
        let running = running.map(|(id, plugin)| Report {
            plugin: plugin.name().to_owned(),
            id: short(&id),
            standing: Standing::Ready(plugin.running.clone()),
        });
        let mut all: Vec<Report> = running.collect();
        all.sort_by(|one, other| (&one.plugin, &one.id).cmp(&(&other.plugin, &other.id)));
        let preparing = self.preparing.lock();
        all.extend(preparing.iter().map(|(plugin, stage, since)| Report {
            plugin: plugin.clone(),
            id: String::new(),
            standing: Standing::Preparing {
                stage: *stage,
                since: *since,
            },
        }));
        all.extend(self.failed.lock().iter().cloned());
        all
    }
}

/// The beginning of an id, as people are shown it.
fn short(id: &[u8; 32]) -> String {
    let mut text = blake3::Hash::from_bytes(*id).to_hex().to_string();
    text.truncate(8);
    text
}

impl Progress<'_> {
    pub(super) fn stage(&self, stage: Stage) {
        let mut preparing = self.reports.preparing.lock();
        let own = |entry: &&mut (String, Stage, Instant)| self.is(entry);
        if let Some((_, of, _)) = preparing.iter_mut().find(own) {
            *of = stage;
        }
    }

    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn is(&self, (plugin, _, since): &(String, Stage, Instant)) -> bool {
        *plugin == self.plugin && *since == self.began
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        let mut preparing = self.reports.preparing.lock();
        preparing.retain(|entry| !self.is(entry));
    }
}
