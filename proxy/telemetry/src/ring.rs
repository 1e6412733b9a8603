//! The last security events, in memory, to be asked for by request id.
//!
//! Bounded three ways: [`ENTRIES_MAX`] events, [`BYTES_MAX`] bytes, [`RETENTION`]. The oldest goes first. What a
//! client sent is cut to size and masked when it comes in, so nothing secret is ever kept.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// Events kept.
pub const ENTRIES_MAX: usize = 10_000;
/// Bytes kept.
pub const BYTES_MAX: usize = 64 << 20;
/// An event older than this is gone.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Rules kept of one event.
pub const RULES_MAX: usize = 64;
/// Bytes kept of a matched value.
pub const VALUE_MAX: usize = 100;
/// Bytes kept of any other text.
const TEXT_MAX: usize = 1024;
const MASK: &str = "(masked)";

/// One security event: a request that was blocked, or would have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /** Request id. */
    pub request_id: String,
    /** Unix time in milliseconds. */
    pub time_ms: u64,
    /** Client address. */
    pub client: String,
    /** Method. */
    pub method: String,
    /** Scheme. */
    pub scheme: String,
    /** Host as received. */
    pub host: String,
    /** Target as received. */
    pub target: String,
    /** Status sent; 0 = the answer was cut. */
    pub status: u16,
    /** Site's name. */
    pub site: String,
    /** Route's key. */
    pub route: String,
    /** Plugin that decided; `waf` for the WAF. */
    pub plugin: String,
    /** `block` or `detect`. */
    pub mode: String,
    /** `block`, `detect`, `limit` or `fault`. */
    pub action: String,
    /** Rules in the order they matched. */
    pub rules: Vec<Rule>,
    /** Anomaly score reached. */
    pub score: i64,
    /** Score that blocks. */
    pub threshold: i64,
    /** CPU time of the verdict in microseconds. */
    pub micros: u64,
}

/// One rule that matched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /** Rule id. */
    pub id: u32,
    /** Its message. */
    pub message: String,
    /** `ARGS:user`. */
    pub variable: String,
    /** What matched, masked and cut to [`VALUE_MAX`] bytes. */
    pub value: String,
    /** `critical`, … */
    pub severity: String,
    /** 1 request head, 2 request body, 3 response head, 4 response body. */
    pub phase: u8,
}

impl Entry {
    /// The rules that weigh most: those of the highest severity, or all if none says how severe it is.
    pub fn heaviest(&self) -> impl Iterator<Item = &Rule> {
        let most = self.rules.iter().map(Rule::weight).max().unwrap_or(0);
        self.rules.iter().filter(move |rule| rule.weight() == most)
    }

    fn texts(&mut self) -> [&mut String; 10] {
        [
            &mut self.request_id,
            &mut self.client,
            &mut self.method,
            &mut self.scheme,
            &mut self.host,
            &mut self.target,
            &mut self.site,
            &mut self.route,
            &mut self.plugin,
            &mut self.mode,
        ]
    }

    fn tame(&mut self) {
        for text in self.texts() {
            cut(text, TEXT_MAX);
        }
        cut(&mut self.action, TEXT_MAX);
        self.rules.truncate(RULES_MAX);
        for rule in &mut self.rules {
            if is_secret(&rule.variable) {
                MASK.clone_into(&mut rule.value);
            }
            cut(&mut rule.value, VALUE_MAX);
            cut(&mut rule.message, TEXT_MAX);
            cut(&mut rule.variable, TEXT_MAX);
            cut(&mut rule.severity, TEXT_MAX);
        }
    }

    fn bytes(&mut self) -> usize {
        let own: usize = self.texts().iter().map(|text| text.len()).sum();
        let rules: usize = self
            .rules
            .iter()
            .map(|r| {
                size_of::<Rule>()
                    + r.message.len()
                    + r.variable.len()
                    + r.value.len()
                    + r.severity.len()
            })
            .sum();
        size_of::<Self>() + own + self.action.len() + rules
    }
}

impl Rule {
    /// By the words of ModSecurity.
    fn weight(&self) -> usize {
        const WORDS: [&str; 8] = [
            "debug",
            "info",
            "notice",
            "warning",
            "error",
            "critical",
            "alert",
            "emergency",
        ];
        WORDS
            .iter()
            .position(|word| *word == self.severity)
            .map_or(0, |place| place + 1)
    }
}

/// Whether a matched variable may hold a credential.
#[must_use]
pub fn is_secret(variable: &str) -> bool {
    let variable = variable.to_ascii_lowercase();
    variable.starts_with("request_cookies")
        || ["authorization", "cookie", "set-cookie"]
            .iter()
            .any(|name| variable.ends_with(&format!("headers:{name}")))
        || variable.ends_with(":proxy-authorization")
        || ["password", "passwd", "secret", "token"]
            .iter()
            .any(|name| variable.contains(name))
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.shrink_to_fit();
    }
}

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

    /// Keeps an event, cut to size and masked.
    pub fn push(&self, mut entry: Entry) {
        entry.tame();
        let bytes = entry.bytes();
        let mut kept = self.kept.lock();
        kept.forget_before(oldest_ms());
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

/// The ring of this process.
#[must_use]
pub fn global() -> &'static Ring {
    &GLOBAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now_ms() -> u64 {
        oldest_ms() + u64::try_from(RETENTION.as_millis()).expect("fits")
    }

    fn entry(id: &str) -> Entry {
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
            }],
            score: 5,
            threshold: 5,
            micros: 1900,
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
    fn the_rules_that_weigh_most_are_told_from_the_rest() {
        let mut e = entry("x");
        let rule = |id, severity: &str| Rule {
            id,
            severity: severity.into(),
            ..Rule::default()
        };
        e.rules = vec![
            rule(1, "warning"),
            rule(2, "critical"),
            rule(3, "notice"),
            rule(4, "critical"),
        ];
        assert_eq!(e.heaviest().map(|rule| rule.id).collect::<Vec<_>>(), [2, 4]);
        e.rules = vec![rule(1, ""), rule(2, "?")];
        assert_eq!(e.heaviest().count(), 2);
        e.rules.clear();
        assert_eq!(e.heaviest().count(), 0);
    }

    #[test]
    fn what_a_client_sent_is_masked_and_cut() {
        let ring = Ring::new(10, usize::MAX);
        let mut e = entry("x");
        e.target = "/".repeat(5000);
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
