//! What the node says about itself and its settings.

use crate::boot::From;
use crate::plane::Progress;
use aegis_telemetry::metrics;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Problems shown of one refusal.
const PROBLEMS_SHOWN: usize = 100;

/// Where the node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Ports are bound, nothing is answered but 503.
    Starting,
    /// Requests are answered.
    Ready,
    /// No new connections; what is in flight ends.
    Draining,
}

impl Phase {
    /// As in `/status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

#[derive(Debug)]
struct Live {
    id: String,
    from: From,
    since: SystemTime,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct LastTry {
    at: SystemTime,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Preparing {
    id: String,
    since: Instant,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    live: Option<Live>,
    last_try: Option<LastTry>,
    preparing: Option<Preparing>,
}

/// Shared by the reload thread, which writes it, and the admin servers, which read it.
#[derive(Debug)]
pub struct State {
    version: &'static str,
    path: Option<PathBuf>,
    started: Instant,
    started_at: SystemTime,
    inner: Mutex<Inner>,
}

impl State {
    /// A node that starts.
    #[must_use]
    pub fn new(version: &'static str, path: Option<PathBuf>) -> Self {
        let inner = Inner {
            phase: Phase::Starting,
            live: None,
            last_try: None,
            preparing: None,
        };
        Self {
            version,
            path,
            started: Instant::now(),
            started_at: SystemTime::now(),
            inner: Mutex::new(inner),
        }
    }

    /// Where the node is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.inner.lock().phase
    }

    /// The node stops taking connections.
    pub fn drain(&self) {
        self.inner.lock().phase = Phase::Draining;
        metrics::READY.set(0);
    }

    pub(crate) fn went_live(&self, id: &str, from: From, warnings: Vec<String>) {
        let mut inner = self.inner.lock();
        inner.live = Some(Live {
            id: id.to_owned(),
            from,
            since: SystemTime::now(),
            warnings,
        });
        if inner.phase == Phase::Starting {
            inner.phase = Phase::Ready;
            metrics::READY.set(1);
        }
    }

    /// The last attempt ended: with what is in force, or with problems.
    pub(crate) fn tried(&self, problems: &[String]) {
        let mut shown: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).cloned().collect();
        if problems.len() > shown.len() {
            shown.push(format!("and {} more", problems.len() - shown.len()));
        }
        self.inner.lock().last_try = Some(LastTry {
            at: SystemTime::now(),
            problems: shown,
        });
    }

    /// What is in force is now what the file says.
    pub(crate) fn same_as_file(&self) {
        if let Some(live) = &mut self.inner.lock().live {
            live.from = From::File;
        }
    }

    pub(crate) fn preparing(&self, id: &str, progress: Arc<Progress>) {
        self.inner.lock().preparing = Some(Preparing {
            id: id.to_owned(),
            since: Instant::now(),
            progress,
        });
    }

    pub(crate) fn prepared(&self) {
        self.inner.lock().preparing = None;
    }

    /// `/status`, without the organs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let inner = self.inner.lock();
        let live = inner.live.as_ref().map(|live| {
            json!({
                "id": live.id,
                "from": live.from.as_str(),
                "since": rfc3339(live.since),
                "warnings": live.warnings,
            })
        });
        let last_try = inner.last_try.as_ref().map(|last| {
            json!({
                "at": rfc3339(last.at),
                "result": if last.problems.is_empty() { "ok" } else { "rejected" },
                "problems": last.problems,
            })
        });
        let preparing = inner.preparing.as_ref().map(|preparing| {
            json!({
                "id": preparing.id,
                "seconds": preparing.since.elapsed().as_secs(),
                "progress": preparing.progress.text(),
            })
        });
        json!({
            "version": self.version,
            "state": inner.phase.as_str(),
            "started": rfc3339(self.started_at),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "config": {
                "path": self.path,
                "live": live,
                "last_try": last_try,
                "preparing": preparing,
            },
        })
    }
}

/// A time as `/status` shows it, `2026-11-20T18:04:11Z`.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| String::new(),
        |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
