//! The event log: security events as lines of JSON, for whoever collects them. A line is what `aegis explain -o json` shows
//! of one event: masked, cut to size, with every rule that matched.
//!
//! A request can have several lines, as it is judged in steps: its head and body, its answer, and what rules of the
//! logging phase say after it; `request_id` is the same. A line is queued when the event is there, which is before the
//! step's outcome is sent; past [`BYTES_MAX`](crate::access::BYTES_MAX) or [`LINES_MAX`](crate::access::LINES_MAX) in
//! the queue it is dropped and counted.

use crate::kept;
use crate::lines::{BYTES_MAX, Kind, LINES_MAX, Lines, Target};
use crate::ring::Entry;
use arc_swap::ArcSwapOption;
use std::io;
use std::sync::Arc;

static LOG: ArcSwapOption<Lines> = ArcSwapOption::const_empty();

/// The event log of this process while it lives. Dropping it writes what is queued.
#[derive(Debug)]
pub struct EventLog(Arc<Lines>);

impl EventLog {
    /// Opens the target; from now on events are written there.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(target: Target) -> io::Result<Self> {
        let lines = Arc::new(Lines::open(Kind::Events, target, BYTES_MAX, LINES_MAX)?);
        LOG.store(Some(Arc::clone(&lines)));
        Ok(Self(lines))
    }

    /// Opens the file anew before the next write, for log rotation. If that fails the old one stays in use.
    pub fn reopen(&self) {
        self.0.reopen();
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        LOG.store(None);
    }
}

/// Queues the line of an event, which has been masked and cut.
pub(crate) fn write(entry: &Entry) {
    let (log, kept) = (LOG.load(), kept::STORE.load());
    if log.is_none() && kept.is_none() {
        return;
    }
    match serde_json::to_vec(entry) {
        Ok(mut line) => {
            line.push(b'\n');
            for lines in log.iter().chain(kept.iter()) {
                lines.push(&line);
            }
        }
        Err(error) => tracing::error!(%error, "a security event cannot be written as JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{self, By, Entry, Rule};
    use std::fs;

    fn of(path: &std::path::Path) -> Vec<Entry> {
        let text = fs::read_to_string(path).expect("readable");
        let lines = text.lines().map(serde_json::from_str::<Entry>);
        // Other tests of this process have events too.
        lines
            .map(|line| line.expect("JSON"))
            .filter(|entry| entry.request_id == "event-log")
            .collect()
    }

    #[test]
    fn every_event_is_one_line_masked_as_in_the_ring_until_the_log_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.log");
        let log = EventLog::open(Target::File(path.clone())).expect("opens");
        let mut event = ring::tests::entry("event-log");
        event.by = Some(Box::new(By {
            id: 949_110,
            message: "Inbound Anomaly Score Exceeded (Total Score: 5)".into(),
        }));
        event.rules[0].data = "Matched Data: or 1=1 found within ARGS:user: a\n\"b\"".into();
        event.rules.push(Rule {
            id: 1,
            variable: "REQUEST_HEADERS:Cookie".into(),
            value: "s3cret".into(),
            data: "s3cret".into(),
            ..Rule::default()
        });
        ring::keep(event.clone());
        let mut answer = event.clone();
        answer.action = "detect".into();
        ring::keep(answer);
        drop(log);
        ring::keep(event.clone());
        let lines = of(&path);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].by, event.by);
        assert_eq!(lines[0].rules[0], event.rules[0]);
        assert_eq!(lines[1].action, "detect");
        assert!(
            !fs::read_to_string(&path)
                .expect("readable")
                .contains("s3cret")
        );
    }
}
