//! The last security events, in memory, to be asked for by request id.
//!
//! Bounded three ways: [`ENTRIES_MAX`] events, [`BYTES_MAX`] bytes, [`RETENTION`]. The oldest goes first. What a
//! client sent is cut to size and masked when it comes in, so nothing secret is ever kept.

mod entry;

pub use entry::{ALSO_MAX, By, DATA_MAX, Entry, RULES_MAX, Rule, VALUE_MAX};

use crate::{event_log, rules};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// Events kept.
pub const ENTRIES_MAX: usize = 10_000;
/// Bytes kept.
pub const BYTES_MAX: usize = 64 << 20;
/// An event older than this is gone.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Events among which an earlier one of the same request is looked for.
const NEAR: usize = 256;

/// The bounded ring.
#[derive(Debug)]
pub struct Ring {
    entries_max: usize,
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<(usize, Arc<Entry>)>,
    bytes: usize,
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some((bytes, _)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }

    /// Takes out an earlier event of the same request and plugin.
    fn take_near(&mut self, entry: &Entry) -> Option<Arc<Entry>> {
        // An id that a proxy let through is the client's to choose, and many requests may have one.
        let is_same = |other: &Entry| {
            other.request_id == entry.request_id
                && other.plugin == entry.plugin
                && (other.time_ms, &other.client) == (entry.time_ms, &entry.client)
        };
        let near = self.entries.iter().enumerate().rev().take(NEAR);
        let (place, _) = near.into_iter().find(|(_, (_, other))| is_same(other))?;
        let (bytes, earlier) = self.entries.remove(place)?;
        self.bytes -= bytes;
        Some(earlier)
    }

    fn forget_before(&mut self, oldest_ms: u64) {
        while self
            .entries
            .front()
            .is_some_and(|(_, entry)| entry.time_ms < oldest_ms)
        {
            self.drop_oldest();
        }
    }
}

fn oldest_ms() -> u64 {
    SystemTime::now()
        .checked_sub(RETENTION)
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

impl Ring {
    /// An empty ring with its own bounds.
    #[must_use]
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries_max,
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// Keeps an event, cut to size and masked. One that follows another of the same request and plugin becomes part of
    /// it.
    pub fn push(&self, mut entry: Entry) {
        entry.tame();
        let mut kept = self.kept.lock();
        kept.forget_before(oldest_ms());
        if let Some(earlier) = kept.take_near(&entry) {
            let mut whole = Arc::unwrap_or_clone(earlier);
            whole.merge(entry);
            entry = whole;
        }
        let bytes = entry.bytes();
        kept.bytes += bytes;
        kept.entries.push_back((bytes, Arc::new(entry)));
        while kept.entries.len() > self.entries_max || kept.bytes > self.bytes_max {
            kept.drop_oldest();
        }
    }

    /// The newest event of a request.
    #[must_use]
    pub fn find(&self, request_id: &str) -> Option<Arc<Entry>> {
        let mut kept = self.kept.lock();
        kept.forget_before(oldest_ms());
        kept.entries
            .iter()
            .rev()
            .find(|(_, entry)| entry.request_id.eq_ignore_ascii_case(request_id))
            .map(|(_, entry)| entry.clone())
    }

    /// The newest `n` events, newest first.
    #[must_use]
    pub fn recent(&self, n: usize) -> Vec<Arc<Entry>> {
        let mut kept = self.kept.lock();
        kept.forget_before(oldest_ms());
        kept.entries
            .iter()
            .rev()
            .take(n)
            .map(|(_, entry)| entry.clone())
            .collect()
    }
}

static GLOBAL: LazyLock<Ring> = LazyLock::new(|| Ring::new(ENTRIES_MAX, BYTES_MAX));

/// Keeps an event in the ring of this process, counts its rules, and writes it where events are written.
pub fn keep(mut entry: Entry) {
    entry.tame();
    event_log::write(&entry);
    rules::fired(&entry);
    global().push(entry);
}

/// The ring of this process.
#[must_use]
pub fn global() -> &'static Ring {
    &GLOBAL
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn now_ms() -> u64 {
        oldest_ms() + u64::try_from(RETENTION.as_millis()).expect("fits")
    }

    pub(crate) fn entry(id: &str) -> Entry {
        Entry {
            request_id: id.into(),
            time_ms: now_ms(),
            client: "203.0.113.9".into(),
            method: "POST".into(),
            scheme: "https".into(),
            host: "shop.example.com".into(),
            target: "/login".into(),
            status: 403,
            site: "shop.example.com".into(),
            route: "sites[0]".into(),
            plugin: "waf".into(),
            mode: "block".into(),
            action: "block".into(),
            rules: vec![Rule {
                id: 942_100,
                message: "SQL injection".into(),
                variable: "ARGS:user".into(),
                value: "a' or 1=1--".into(),
                severity: "critical".into(),
                phase: 2,
                data: String::new(),
                ..Rule::default()
            }],
            score: 5,
            threshold: 5,
            micros: 1900,
            detail: String::new(),
            by: None,
        }
    }

    #[test]
    fn the_oldest_event_goes_first_at_either_bound() {
        let ring = Ring::new(2, usize::MAX);
        for id in ["a", "b", "c"] {
            ring.push(entry(id));
        }
        assert!(ring.find("a").is_none());
        assert_eq!(ring.find("C").expect("ids ignore case").request_id, "c");
        let ids: Vec<_> = ring
            .recent(10)
            .iter()
            .map(|e| e.request_id.clone())
            .collect();
        assert_eq!(ids, ["c", "b"]);

        let one = entry("a").bytes();
        let ring = Ring::new(100, 2 * one);
        for id in ["a", "b", "c"] {
            ring.push(entry(id));
        }
        assert_eq!(ring.recent(10).len(), 2);
    }

    #[test]
    fn an_event_past_its_retention_is_gone() {
        let ring = Ring::new(10, usize::MAX);
        let mut old = entry("old");
        old.time_ms -= u64::try_from(RETENTION.as_millis()).expect("fits") + 10;
        ring.push(old);
        assert!(ring.find("old").is_none());
        assert!(ring.recent(1).is_empty());
    }

    #[test]
    fn the_events_of_one_request_become_one() {
        let ring = Ring::new(10, usize::MAX);
        let mut head = entry("x");
        head.action = "detect".into();
        head.status = 0;
        head.score = 3;
        ring.push(head);
        ring.push(entry("y"));
        let mut body = entry("x");
        body.rules[0].id = 941_100;
        ring.push(body);
        let mut answer = entry("x");
        answer.action = "detect".into();
        (answer.rules, answer.score, answer.threshold) = (Vec::new(), 0, 4);
        ring.push(answer);
        let whole = ring.find("x").expect("kept");
        let ids: Vec<_> = whole.rules.iter().map(|rule| rule.id).collect();
        assert_eq!(ids, [942_100, 941_100]);
        assert_eq!((whole.action.as_str(), whole.status), ("block", 403));
        assert_eq!((whole.score, whole.threshold, whole.micros), (5, 5, 5700));
        assert_eq!(ring.recent(10).len(), 2);
        let counted: usize = ring
            .kept
            .lock()
            .entries
            .iter()
            .map(|(bytes, _)| bytes)
            .sum();
        assert_eq!(ring.kept.lock().bytes, counted);
    }

    #[test]
    fn what_a_client_sent_is_masked_and_cut() {
        let ring = Ring::new(10, usize::MAX);
        let mut e = entry("x");
        e.target = format!("/?token=s3cret&x={}", "/".repeat(5000));
        e.rules[0].value = "é".repeat(200);
        for variable in [
            "REQUEST_HEADERS:Authorization",
            "REQUEST_HEADERS:cookie",
            "RESPONSE_HEADERS:Set-Cookie",
            "REQUEST_COOKIES:session",
            "ARGS:password",
        ] {
            e.rules.push(Rule {
                variable: variable.into(),
                value: "s3cret".into(),
                ..Rule::default()
            });
        }
        e.rules.push(Rule {
            variable: "QUERY_STRING".into(),
            value: "a=1&password=s3cret".into(),
            ..Rule::default()
        });
        e.rules.resize(1000, Rule::default());
        ring.push(e);
        let kept = ring.find("x").expect("kept");
        assert_eq!(kept.target.len(), 1024);
        assert_eq!(kept.rules[0].value, "é".repeat(50));
        assert_eq!(kept.rules.len(), RULES_MAX);
        let json = serde_json::to_string(&*kept).expect("serialises");
        assert!(!json.contains("s3cret"));
    }
}
