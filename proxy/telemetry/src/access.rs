//! The access log: one line a request, never waited for.
//!
//! [`AccessLog::log`] formats into a buffer of its thread and appends the line to a queue bounded by bytes and by
//! lines; past either bound the line is dropped and counted. One thread writes, in batches: a line that comes after a
//! pause is written at once, under load many lines share a system call and none waits longer than [`LINGER`].
//!
//! A connection that ended without an answer has a line too ([`AccessLog::log_cut`]), but at most [`CUTS_A_SECOND`] of
//! them: no flood fills a disk. The next one that is written says how many were held back.
//!
//! There is no field for `Authorization`, `Cookie` or `Set-Cookie`, and a value can neither end nor add a line: see
//! [`line`](self::line) for the escapes.

mod line;

pub use crate::lines::{BYTES_MAX, LINES_MAX, LINGER, Target};

use crate::lines::{Kind, Lines};
use crate::throttle::Throttle;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Lines a second for connections that ended without an answer.
pub const CUTS_A_SECOND: u32 = 20;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// NCSA combined.
    Combined,
}

/// What is known of a request at its end. All borrowed: a record costs no allocation.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /** When its first byte came. */
    pub time: SystemTime,
    /** Request id. */
    pub request_id: &'a str,
    /** Client address, behind trusted hops. */
    pub client: &'a str,
    /** The other end of the socket, where that is not the client but a proxy. */
    pub peer: Option<&'a str>,
    /** Method. */
    pub method: &'a [u8],
    /** `http` or `https`. */
    pub scheme: &'a str,
    /** Host as received. */
    pub host: &'a [u8],
    /** Target as received, with its query. */
    pub target: &'a [u8],
    /** `HTTP/1.1`. */
    pub version: &'a str,
    /** Status sent; 0 = none. */
    pub status: u16,
    /** Bytes of the answer's body. */
    pub bytes_sent: u64,
    /** Bytes of the request's body. */
    pub bytes_received: u64,
    /** From the first byte of the request to the last of the answer. */
    pub duration: Duration,
    /** The origin server that answered. */
    pub origin: Option<&'a str>,
    /** Time to the origin's response head. */
    pub origin_time: Option<Duration>,
    /** What the cache said, or empty. */
    pub cache: &'a str,
    /** Site's name. */
    pub site: &'a str,
    /** Route's key. */
    pub route: &'a str,
    /** User-Agent. */
    pub user_agent: Option<&'a [u8]>,
    /** Referer. */
    pub referer: Option<&'a [u8]>,
    /** `TLSv1.3`. */
    pub tls_version: Option<&'a str>,
    /** Subject and SHA-256 of the certificate the client showed. */
    pub client_cert: Option<(&'a str, &'a str)>,
    /** JA4 fingerprint. */
    pub ja4: Option<&'a str>,
    /** What the WAF said. */
    pub waf: Option<&'a str>,
    /** The fault that ended the request. */
    pub error: Option<&'a str>,
    /** The limit that refused it. */
    pub limit: Option<&'a str>,
    /** A limit on a dry run that would have refused it. */
    pub would_limit: Option<&'a str>,
    /** `request`, `refresh`, `refused`, … */
    pub kind: &'a str,
}

/// A connection, or a stream of it, that was ended without an answer of HTTP.
#[derive(Debug, Clone)]
pub struct Cut<'a> {
    /** When it ended. */
    pub time: SystemTime,
    /** The other end of the socket. */
    pub client: &'a str,
    /** Our end, where known. */
    pub local: Option<SocketAddr>,
    /** The connection's number; 0 where it did not come so far. */
    pub connection: u64,
    /** `TLSv1.3`. */
    pub tls_version: Option<&'a str>,
    /** Server name of the handshake. */
    pub sni: Option<&'a str>,
    /** `handshake_timeout`, `h2_reset_flood`, … */
    pub error: &'a str,
}

/// The access log of the process. Dropping it writes what is queued.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    lines: Lines,
    cuts: Throttle,
}

thread_local! {
    static LINE: RefCell<line::Buffer> = RefCell::default();
}

impl AccessLog {
    /// Opens the target and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(format: Format, target: Target) -> io::Result<Self> {
        Self::with_bounds(format, target, BYTES_MAX, LINES_MAX)
    }

    /// As [`AccessLog::open`], with other bounds of the queue.
    ///
    /// # Errors
    /// As [`AccessLog::open`].
    pub fn with_bounds(
        format: Format,
        target: Target,
        bytes_max: usize,
        lines_max: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            format,
            lines: Lines::open(Kind::Access, target, bytes_max, lines_max)?,
            cuts: Throttle::new(CUTS_A_SECOND),
        })
    }

    /// Queues a line; drops and counts it when the queue is full.
    pub fn log(&self, record: &Record<'_>) {
        LINE.with_borrow_mut(|buffer| {
            let line = match self.format {
                Format::Json => buffer.json(record),
                Format::Combined => buffer.combined(record),
            };
            self.lines.push(line);
        });
    }

    /// Queues a line for a connection that ended without an answer, unless there were too many in this second.
    pub fn log_cut(&self, cut: &Cut<'_>) {
        if let Some(held_back) = self.cuts.admit_and_tell() {
            self.write_cut(cut, held_back);
        }
    }

    fn write_cut(&self, cut: &Cut<'_>, held_back: u64) {
        LINE.with_borrow_mut(|buffer| {
            let line = match self.format {
                Format::Json => buffer.json_cut(cut, held_back),
                Format::Combined => buffer.combined_cut(cut),
            };
            self.lines.push(line);
        });
    }

    /// The lines that were held back and that no later one told of.
    fn tell_held_back(&self) {
        let held_back = self.cuts.take_held_back();
        if held_back > 0 {
            let cut = Cut {
                time: SystemTime::now(),
                client: "-",
                local: None,
                connection: 0,
                tls_version: None,
                sni: None,
                error: "held_back",
            };
            self.write_cut(&cut, held_back);
        }
    }

    /// Opens the file anew before the next write, for log rotation. If that fails the old one stays in use.
    pub fn reopen(&self) {
        self.lines.reopen();
    }

    /// Waits until everything queued before this call is written; `false` = not within `limit`.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        self.lines.flush(limit)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.tell_held_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG: Duration = Duration::from_secs(60);

    fn open(path: &std::path::Path) -> AccessLog {
        AccessLog::open(Format::Json, Target::File(path.into())).expect("opens")
    }

    #[test]
    fn every_line_of_many_threads_arrives_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let log = open(&path);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| log.log(&line::tests::record())));
            }
        });
        assert!(log.flush(LONG));
        let text = fs::read_to_string(&path).expect("readable");
        assert_eq!(text.lines().count(), 2000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("a JSON object");
        }
    }

    #[test]
    fn a_line_after_a_pause_needs_no_flush() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let log = open(&path);
        log.log(&line::tests::record());
        let until = std::time::Instant::now() + LONG;
        while fs::metadata(&path).expect("there").len() == 0 {
            assert!(std::time::Instant::now() < until, "never written");
            std::thread::yield_now();
        }
        log.log(&line::tests::record());
        drop(log);
        assert_eq!(
            fs::read_to_string(&path).expect("readable").lines().count(),
            2
        );
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let old = dir.path().join("access.log.1");
        let log = open(&path);
        log.log(&line::tests::record());
        assert!(log.flush(LONG));
        fs::rename(&path, &old).expect("rotates");
        log.reopen();
        log.log(&line::tests::record());
        assert!(log.flush(LONG));
        for path in [&path, &old] {
            assert_eq!(
                fs::read_to_string(path).expect("readable").lines().count(),
                1
            );
        }
    }

    #[test]
    fn connections_that_end_unanswered_have_few_lines_which_tell_of_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("access.log");
        let log = open(&path);
        let flood = 10_000;
        (0..flood).for_each(|_| log.log_cut(&line::tests::cut()));
        drop(log);
        let text = fs::read_to_string(&path).expect("readable");
        // It takes less than a minute, and what the last second held back is told at the end.
        let lines = text.lines().count();
        assert!(lines > 1 && lines <= 60 * CUTS_A_SECOND as usize, "{lines}");
        let told: u64 = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|line| {
                let own = u64::from(line["error"] != "held_back");
                own + line["held_back"].as_u64().unwrap_or(0)
            })
            .sum();
        assert_eq!(told, flood);
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error() {
        let target = Target::File("/nowhere/access.log".into());
        assert!(AccessLog::open(Format::Combined, target).is_err());
    }
}
