//! One event, cut to size and masked.

use crate::mask::{self, MASK};
use serde::{Deserialize, Serialize};

/// Rules kept of one event.
pub const RULES_MAX: usize = 64;
/// Bytes kept of a matched value.
pub const VALUE_MAX: usize = 100;
/// Bytes kept of what a rule says about it.
pub const DATA_MAX: usize = 300;
/// Further variables kept of one rule.
pub const ALSO_MAX: usize = 16;
/// Bytes kept of any other text.
const TEXT_MAX: usize = 1024;

/// One security event: a request that was blocked, or would have been.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /** Who decided: a plugin by its name (`waf` for the WAF), `limits`, `verdicts`, or `admin`. */
    pub plugin: String,
    /** How it was set: `block` or `detect`; of a limit `enforce` or `dry_run`; of a change on the admin socket its result. */
    pub mode: String,
    /** `block`, `detect`, `limit`, `fault`, `ban` or `audit`. */
    pub action: String,
    /** Rules in the order they matched. */
    pub rules: Vec<Rule>,
    /** Anomaly score reached. */
    pub score: i64,
    /** Score that blocks. */
    pub threshold: i64,
    /** CPU time of the verdict in microseconds. */
    pub micros: u64,
    /** Why, where no rule says it: which limit was hit, which plugin failed. */
    #[serde(default)]
    pub detail: String,
    /** The rule that ended the request, or would have: one of the operator's own, or the one that adds up scores. */
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<By>>,
}

/// The rule that ended a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct By {
    /** Rule id. */
    pub id: u32,
    /** Its message. */
    pub message: String,
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
    /** What the rule itself says about it (`logdata`), masked and cut to [`DATA_MAX`] bytes. */
    #[serde(skip_serializing_if = "String::is_empty")]
    pub data: String,
    /** Further variables it matched, [`ALSO_MAX`] at most. */
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /** `critical`, … */
    pub severity: String,
    /** 1 request head, 2 request body, 3 response head, 4 response body, 5 after the answer. */
    pub phase: u8,
}

impl Entry {
    /// The rules that weigh most: those of the highest severity, or all if none says how severe it is.
    pub fn heaviest(&self) -> impl Iterator<Item = &Rule> {
        let most = self.rules.iter().map(Rule::weight).max().unwrap_or(0);
        self.rules.iter().filter(move |rule| rule.weight() == most)
    }

    fn texts(&mut self) -> [&mut String; 11] {
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
            &mut self.detail,
        ]
    }

    pub(super) fn tame(&mut self) {
        let shown = mask::target(self.target.as_bytes());
        self.target = String::from_utf8_lossy(&shown).into_owned();
        for text in self.texts() {
            cut(text, TEXT_MAX);
        }
        cut(&mut self.action, TEXT_MAX);
        if let Some(by) = &mut self.by {
            by.message = mask::text(&by.message);
            cut(&mut by.message, TEXT_MAX);
        }
        self.rules.truncate(RULES_MAX);
        for rule in &mut self.rules {
            rule.mask();
            rule.also.truncate(ALSO_MAX);
            for variable in &mut rule.also {
                cut(variable, VALUE_MAX);
            }
            cut(&mut rule.data, DATA_MAX);
            cut(&mut rule.value, VALUE_MAX);
            cut(&mut rule.message, TEXT_MAX);
            cut(&mut rule.variable, TEXT_MAX);
            cut(&mut rule.severity, TEXT_MAX);
        }
    }

    pub(super) fn bytes(&mut self) -> usize {
        let own: usize = self.texts().iter().map(|text| text.len()).sum();
        let rules: usize = self
            .rules
            .iter()
            .map(|r| {
                size_of::<Rule>()
                    + r.message.len()
                    + r.variable.len()
                    + r.value.len()
                    + r.data.len()
                    + r.also
                        .iter()
                        .map(|also| size_of::<String>() + also.len())
                        .sum::<usize>()
                    + r.severity.len()
            })
            .sum();
        let by = self.by.as_ref();
        let by = by.map_or(0, |by| size_of::<By>() + by.message.len());
        size_of::<Self>() + own + self.action.len() + by + rules
    }
}

impl Rule {
    /// What a rule says may hold the value of any variable it looked at.
    fn mask(&mut self) {
        let variables = || std::iter::once(&self.variable).chain(&self.also);
        let secret = variables().any(|variable| is_secret(variable));
        let pairs = variables().any(|variable| holds_pairs(variable));
        if secret && !self.value.is_empty() {
            self.message = self.message.replace(&self.value, MASK);
        }
        self.message = mask::text(&self.message);
        if is_secret(&self.variable) {
            MASK.clone_into(&mut self.value);
        } else if pairs {
            self.value = mask::text(&self.value);
        }
        if secret {
            self.data.clear();
        } else {
            self.data = mask::text(&self.data);
        }
    }

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

/// Whether a matched variable may hold a credential: `REQUEST_HEADERS:Authorization`, `ARGS:token`.
fn is_secret(variable: &str) -> bool {
    const FIELDS: [&str; 4] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
    ];
    let (collection, name) = variable.split_once(':').unwrap_or((variable, ""));
    let is = |word: &str| name.eq_ignore_ascii_case(word);
    let starts = |word: &str| {
        collection
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    // All fields of a request in one, whole credentials among them.
    let all_fields = variable.eq_ignore_ascii_case("FULL_REQUEST");
    all_fields || starts("request_cookies") || FIELDS.into_iter().any(is) || mask::is_secret(name)
}

/// Whether a matched variable holds parameters with their names.
fn holds_pairs(variable: &str) -> bool {
    const WHOLE: [&str; 6] = [
        "REQUEST_URI",
        "REQUEST_URI_RAW",
        "REQUEST_LINE",
        "QUERY_STRING",
        "REQUEST_BODY",
        "REQUEST_HEADERS:Referer",
    ];
    WHOLE.iter().any(|name| variable.eq_ignore_ascii_case(name))
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.shrink_to_fit();
    }
}

impl Entry {
    /// Takes in a later event of the same request and plugin: its body after its head, its answer after it.
    pub(super) fn merge(&mut self, later: Self) {
        const WEIGHTS: [&str; 4] = ["detect", "limit", "fault", "block"];
        let weight = |action: &str| WEIGHTS.iter().position(|word| *word == action);
        if weight(&later.action) > weight(&self.action) {
            self.action = later.action;
            self.status = later.status;
            self.by = later.by;
        }
        if later.score > self.score {
            (self.score, self.threshold) = (later.score, later.threshold);
        }
        self.micros = self.micros.saturating_add(later.micros);
        for rule in later.rules {
            if self.rules.len() < RULES_MAX && !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::tests::entry;

    #[test]
    fn what_a_rule_says_is_masked_by_every_variable_it_looked_at() {
        let mut e = entry("x");
        let said = |variable: &str, also: &[&str]| Rule {
            variable: variable.into(),
            value: "hunter2".into(),
            also: also.iter().map(|&name| name.to_owned()).collect(),
            message: "found hunter2".into(),
            data: "ARGS:password=hunter2".into(),
            ..Rule::default()
        };
        e.rules = vec![
            said("ARGS:password", &[]),
            said("REQUEST_METHOD", &["ARGS:password"]),
            Rule {
                variable: "REQUEST_BODY".into(),
                value: r#"{"password":"hunter2"}"#.into(),
                data: r#"Matched {"password":"hunter2"}"#.into(),
                ..Rule::default()
            },
        ];
        e.rules[1].value = "POST".into();
        e.rules[1].message.clear();
        e.tame();
        let told = format!("{:?}", e.rules);
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(e.rules[1].value, "POST");
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
}
