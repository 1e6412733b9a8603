//! Logs of lines: a bounded queue between the requests and the one thread that writes.

use crate::events::LogFailed;
use crate::metrics::{ACCESS_LOG_DROPPED, EVENT_LOG_DROPPED, EVENTS_KEPT_DROPPED};
use parking_lot::{Condvar, Mutex, MutexGuard};
use prometheus::IntCounter;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of lines waiting to be written.
pub const BYTES_MAX: usize = 8 << 20;
/// Lines waiting to be written.
pub const LINES_MAX: usize = 65_536;
/// Longest time a line waits for company.
pub const LINGER: Duration = Duration::from_millis(100);
/// So many bytes are written without waiting for more.
const BATCH: usize = 64 << 10;

/// How long the end of the process waits for the last lines.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, appended to; made with mode 0640.
    File(PathBuf),
    /// A file of so many bytes at most, and beside it the one before: when it is full it takes the place of that.
    Pair {
        /// The one that is written.
        new: PathBuf,
        /** The one before. */
        old: PathBuf,
        /** Bytes of either. */
        bytes_max: u64,
    },
}

/// Which log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A line a request.
    Access,
    /// A line a security event.
    Events,
    /// The same, kept for this node to read again.
    Kept,
}

impl Kind {
    /// Its name, which is also that of its thread.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Access => "access-log",
            Self::Events => "event-log",
            Self::Kept => "event-store",
        }
    }

    /// Lines lost.
    pub(crate) fn dropped(self) -> &'static IntCounter {
        match self {
            Self::Access => &ACCESS_LOG_DROPPED,
            Self::Events => &EVENT_LOG_DROPPED,
            Self::Kept => &EVENTS_KEPT_DROPPED,
        }
    }

    /// Events are rare, and whoever follows them wants them now.
    const fn linger(self) -> Duration {
        match self {
            Self::Access | Self::Kept => LINGER,
            Self::Events => Duration::ZERO,
        }
    }
}

/// A queue and its writer. Dropping it writes what is queued.
#[derive(Debug)]
pub(crate) struct Lines {
    kind: Kind,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Lines {
    /// Opens the target and starts the writer.
    pub(crate) fn open(
        kind: Kind,
        target: Target,
        bytes_max: usize,
        lines_max: usize,
    ) -> io::Result<Self> {
        let sink = Sink::open(kind, target)?;
        let queue = Arc::new(Queue::new(kind, bytes_max, lines_max));
        let writer = std::thread::Builder::new()
            .name(kind.name().into())
            .spawn({
                let queue = Arc::clone(&queue);
                move || queue.write_to(sink)
            })?;
        Ok(Self {
            kind,
            queue,
            writer: Some(writer),
        })
    }

    /// Queues a line, which ends with a line feed; drops and counts it when the queue is full.
    pub(crate) fn push(&self, line: &[u8]) {
        self.queue.push(line);
    }

    /// Opens the file anew before the next write. If that fails the old one stays in use.
    pub(crate) fn reopen(&self) {
        self.queue.ask_reopen();
    }

    /// Waits until everything queued before this call is written; `false` = not within `limit`.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.queue.close();
        let log = self.kind.name();
        // A target that takes nothing (a pipe without a reader) must not keep the process from ending.
        if !self.flush(STOP_LIMIT) {
            tracing::warn!(log, "its target takes nothing; its last lines are lost");
            return;
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(log, "its writer failed");
        }
    }
}

/// What the writer is doing, so that a push wakes it only when it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Waits without limit: any line wakes it.
    Idle,
    /// Has just written; waits for a batch or the end of [`LINGER`].
    Lingers,
    /// Awake.
    Works,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    lines: usize,
    writer: Writer,
    reopen: bool,
    closed: bool,
    flush: bool,
    /// Lines accepted so far, and lines written or lost so far: what `flush` compares.
    accepted: u64,
    done: u64,
}

#[derive(Debug)]
struct Queue {
    kind: Kind,
    bytes_max: usize,
    lines_max: usize,
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
}

impl Queue {
    fn new(kind: Kind, bytes_max: usize, lines_max: usize) -> Self {
        Self {
            kind,
            bytes_max,
            lines_max,
            state: Mutex::new(State {
                bytes: Vec::new(),
                lines: 0,
                writer: Writer::Works,
                reopen: false,
                closed: false,
                flush: false,
                accepted: 0,
                done: 0,
            }),
            wake: Condvar::new(),
            written: Condvar::new(),
        }
    }

    /// Appends a line, or drops and counts it.
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines >= self.lines_max || line.len() > self.bytes_max - state.bytes.len() {
            drop(state);
            self.kind.dropped().inc();
            return;
        }
        state.bytes.extend_from_slice(line);
        state.lines += 1;
        state.accepted += 1;
        let wake = match state.writer {
            Writer::Idle => true,
            Writer::Lingers => state.bytes.len() >= BATCH,
            Writer::Works => false,
        };
        if wake {
            state.writer = Writer::Works;
            drop(state);
            self.wake.notify_one();
        }
    }

    fn ask_reopen(&self) {
        self.state.lock().reopen = true;
        self.wake.notify_one();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits until what is queued now is written or lost; `false` = not within `limit`.
    fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = self.state.lock();
        let goal = state.accepted;
        while state.done < goal {
            state.flush = true;
            self.wake.notify_one();
            if self.written.wait_until(&mut state, until).timed_out() {
                return state.done >= goal;
            }
        }
        true
    }

    /// The writer's life: until [`Queue::close`], and then until nothing is left.
    fn write_to(&self, mut sink: Sink) {
        let mut batch = Vec::new();
        let mut state = self.state.lock();
        loop {
            if state.reopen {
                state.reopen = false;
                drop(state);
                sink.reopen();
                state = self.state.lock();
            } else if state.lines == 0 {
                if state.closed {
                    return;
                }
                state.writer = Writer::Idle;
                self.wake.wait(&mut state);
                state.writer = Writer::Works;
            } else {
                std::mem::swap(&mut state.bytes, &mut batch);
                let lines = std::mem::take(&mut state.lines);
                state.flush = false;
                drop(state);
                sink.write(&batch, lines);
                batch.clear();
                state = self.state.lock();
                state.done += lines as u64;
                self.written.notify_all();
                self.linger(&mut state);
            }
        }
    }

    /// Gives more lines time to come, so that under load one system call writes many.
    fn linger(&self, state: &mut MutexGuard<'_, State>) {
        let until = Instant::now() + self.kind.linger();
        state.writer = Writer::Lingers;
        while state.bytes.len() < BATCH && !(state.closed || state.reopen || state.flush) {
            if self.wake.wait_until(state, until).timed_out() {
                break;
            }
        }
        state.writer = Writer::Works;
    }
}

/// Where the writer writes.
#[derive(Debug)]
struct Sink {
    kind: Kind,
    target: Target,
    file: File,
    /// The last write ended inside a line.
    torn: bool,
    /// Bytes in the file; known only where it has a bound.
    bytes: u64,
}

impl Sink {
    fn open(kind: Kind, target: Target) -> io::Result<Self> {
        let file = open(&target)?;
        let bytes = file.metadata().map_or(0, |about| about.len());
        // What a crash left may end inside a line.
        let torn = matches!(target, Target::Pair { .. }) && bytes > 0;
        Ok(Self {
            kind,
            target,
            file,
            torn,
            bytes,
        })
    }

    /// Begins a new file before one with a bound would be longer than it may be.
    fn turn(&mut self, batch: usize) -> io::Result<()> {
        let Target::Pair {
            new,
            old,
            bytes_max,
        } = &self.target
        else {
            return Ok(());
        };
        let batch = u64::try_from(batch).unwrap_or(u64::MAX);
        if self.bytes == 0 || self.bytes.saturating_add(batch) <= *bytes_max {
            self.bytes = self.bytes.saturating_add(batch);
            return Ok(());
        }
        match std::fs::rename(new, old) {
            // Taken away by somebody, or the last try got no further.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file = open(&self.target)?;
        self.torn = false;
        self.bytes = batch;
        Ok(())
    }

    fn reopen(&mut self) {
        match open(&self.target) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => self.failed(&error, 0),
        }
    }

    /// Writes all of it, or counts the lines that are lost.
    fn write(&mut self, batch: &[u8], lines: usize) {
        if let Err(error) = self.turn(batch.len()) {
            return self.failed(&error, lines);
        }
        let mut rest = batch;
        if self.torn && self.file.write_all(b"\n").is_ok() {
            self.torn = false;
        }
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => break,
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let done = batch.len() - rest.len();
                    self.torn |= done > 0 && batch.get(done - 1) != Some(&b'\n');
                    let lost = rest.iter().filter(|byte| **byte == b'\n').count();
                    return self.failed(&error, lost.min(lines));
                }
            }
        }
    }

    fn failed(&self, error: &io::Error, lines: usize) {
        LogFailed {
            kind: self.kind,
            error,
            lines: lines as u64,
        }
        .emit();
    }
}

fn open(target: &Target) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    match target {
        // A descriptor of its own: std's handle would buffer by line.
        Target::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Target::File(path) | Target::Pair { new: path, .. } => File::options()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_by_bytes_and_by_lines() {
        let before = ACCESS_LOG_DROPPED.get();
        let queue = Queue::new(Kind::Access, 10, 3);
        queue.push(b"123456\n");
        queue.push(b"1234567\n");
        queue.push(b"1\n");
        assert_eq!(queue.state.lock().bytes, b"123456\n1\n");
        queue.push(b"\n");
        queue.push(b"");
        assert_eq!(queue.state.lock().lines, 3);
        assert!(ACCESS_LOG_DROPPED.get() >= before + 2);
    }

    #[test]
    fn a_target_that_cannot_take_a_line_loses_it_and_goes_on() {
        let before = EVENT_LOG_DROPPED.get();
        let mut sink = Sink::open(Kind::Events, Target::File("/dev/full".into())).expect("opens");
        sink.write(b"a\nb\n", 2);
        assert!(EVENT_LOG_DROPPED.get() >= before + 2);
        assert!(!sink.torn);
    }
}
