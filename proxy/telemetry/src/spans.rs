//! Spans of requests, sent to an OpenTelemetry collector by OTLP/HTTP in JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! A request hands over all its spans at its end. They wait in a queue of [`QUEUE_MAX`] requests; when it is full they are
//! dropped and counted. One thread sends them in batches of at most [`BATCH_MAX`] requests, one second after the first
//! came at the latest. What the collector does not take is tried [`TRIES`] times, then dropped and counted
//! (`aegis_spans_dropped_total`). No request ever waits.
//!
//! Plain HTTP only: the collector is meant to stand beside the node, and to do what is far, encrypted or signed.

mod json;
mod send;

use crate::metrics::SPANS_DROPPED;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{Sender, channel, error::TrySendError};

/// Requests whose spans may wait.
pub const QUEUE_MAX: usize = 2_048;
/// Requests of one batch.
pub const BATCH_MAX: usize = 256;
/// How often a batch is sent before it is given up.
pub const TRIES: u32 = 3;

/// What happened, from when to when.
#[derive(Debug, Clone)]
pub struct Span {
    /// The trace.
    pub trace: [u8; 16],
    /// Its own id.
    pub id: [u8; 8],
    /// Whose part it is.
    pub parent: Option<[u8; 8]>,
    /// As few different ones as possible.
    pub name: String,
    /// Which side of a call.
    pub kind: Kind,
    /// Its begin.
    pub start: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// By the semantic conventions, and ours under `aegis.`.
    pub attributes: Vec<(&'static str, Value)>,
    /// It went wrong.
    pub failed: bool,
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Neither.
    Internal,
    /// The one that was asked.
    Server,
    /// The one that asks.
    Client,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// For the thread that sends.
enum Message {
    Spans(Vec<Span>),
    /// Send what is there and say so.
    Flush(mpsc::Sender<()>),
}

/// Takes spans; dropping it ends the thread that sends them, after what is queued.
#[derive(Debug)]
pub struct Exporter {
    queue: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Sends to `authority` (`host:port`) under `base`, the path before `/v1/traces`; `version` is ours.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(authority: &str, base: &str, version: &str) -> io::Result<Self> {
        let (queue, waiting) = channel(QUEUE_MAX);
        let collector = send::Collector::new(authority, base);
        let version = version.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("spans".into())
            .spawn(move || runtime.block_on(send::run(waiting, &collector, &version)))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues the spans of a request; drops and counts them when the queue is full.
    pub fn send(&self, spans: Vec<Span>) {
        let Some(queue) = &self.queue else { return };
        if let Err(
            TrySendError::Full(Message::Spans(spans)) | TrySendError::Closed(Message::Spans(spans)),
        ) = queue.try_send(Message::Spans(spans))
        {
            SPANS_DROPPED.with(&["queue"]).inc_by(spans.len() as u64);
        }
    }

    /// Waits until everything queued before this call was sent or given up; `false` = not within `limit`.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, is_done) = mpsc::channel();
        let asked = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(Message::Flush(done)).is_ok());
        asked && is_done.recv_timeout(limit).is_ok()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.queue = None;
        // It ends when it has given up what is left; nobody waits for a collector that is slow.
        drop(self.thread.take());
    }
}

#[cfg(test)]
mod tests;
