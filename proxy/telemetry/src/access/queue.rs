//! The bounded queue between the requests and the writer.

use super::Target;
use crate::events::AccessLogFailed;
use crate::metrics::ACCESS_LOG_DROPPED;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes of lines waiting to be written.
pub const BYTES_MAX: usize = 8 << 20;
/// Lines waiting to be written.
pub const LINES_MAX: usize = 65_536;
/// Longest time a line waits for company.
pub const LINGER: Duration = Duration::from_millis(100);
/// So many bytes are written without waiting for more.
const BATCH: usize = 64 << 10;

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
pub(super) struct Queue {
    bytes_max: usize,
    lines_max: usize,
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, lines_max: usize) -> Self {
        Self {
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
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines >= self.lines_max || line.len() > self.bytes_max - state.bytes.len() {
            drop(state);
            ACCESS_LOG_DROPPED.inc();
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

    pub(super) fn ask_reopen(&self) {
        self.state.lock().reopen = true;
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits until what is queued now is written or lost; `false` = not within `limit`.
    pub(super) fn flush(&self, limit: Duration) -> bool {
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
    pub(super) fn write_to(&self, mut sink: Sink) {
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
        let until = Instant::now() + LINGER;
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
pub(super) struct Sink {
    target: Target,
    file: File,
    /// The last write ended inside a line.
    torn: bool,
}

impl Sink {
    pub(super) fn open(target: Target) -> io::Result<Self> {
        let file = open(&target)?;
        Ok(Self {
            target,
            file,
            torn: false,
        })
    }

    fn reopen(&mut self) {
        match open(&self.target) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                AccessLogFailed {
                    error: &error,
                    lines: 0,
                }
                .emit();
            }
        }
    }

    /// Writes all of it, or counts the lines that are lost.
    fn write(&mut self, batch: &[u8], lines: usize) {
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
                    AccessLogFailed {
                        error: &error,
                        lines: lost.min(lines) as u64,
                    }
                    .emit();
                    return;
                }
            }
        }
    }
}

fn open(target: &Target) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    match target {
        // A descriptor of its own: std's handle would buffer by line.
        Target::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Target::File(path) => File::options()
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
        let queue = Queue::new(10, 3);
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
        let before = ACCESS_LOG_DROPPED.get();
        let mut sink = Sink::open(Target::File("/dev/full".into())).expect("opens");
        sink.write(b"a\nb\n", 2);
        assert!(ACCESS_LOG_DROPPED.get() >= before + 2);
        assert!(!sink.torn);
    }
}
