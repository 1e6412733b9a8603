//! `limits:` of profiles, sites and routes.

use crate::context::Context;
use crate::define::{choices, default, describe, optional, required, settings};
use crate::kind::limit::{amount, limit_key, statuses};
use crate::kind::scalar::{choice, flag, ms, secs, time, whole};
use crate::kind::{Kind, Named, Section as _, list, maybe};
use crate::limits::{LIMIT_AMOUNT_MAX, LIMIT_PARTS_MAX, LIMIT_STATUSES_MAX, LIMITS_MAX};
use crate::node::{Node, Value};
use crate::overlay::{Layer, Set, Sources, profile, set};
use crate::shape::{self, Shape};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use crate::kind::limit::LimitKey;

settings! {
    /// How much one client, or whatever `key` says, may have.
    pub struct LimitPolicy {
        @name name;
        /// What is counted.
        of: LimitOf = choice() => default("requests");
        /// How much of it in a window, or at a time for `in_flight`.
        limit: u64 = amount(1, LIMIT_AMOUNT_MAX) => required(&["500"]);
        /// The time it is counted over; not for `in_flight`.
        window: Option<Duration> = maybe(time(ms(100), secs(86_400))) => optional(&["10s"]);
        /// How much more once, after being quiet.
        burst: u64 = amount(0, LIMIT_AMOUNT_MAX) => default("0");
        /// What has a count of its own: these together. A request that lacks a header, cookie or fingerprint, or has
        /// it twice, is counted by its address there.
        key: Vec<LimitKey> = list(limit_key(), 1, LIMIT_PARTS_MAX) => default("[address]");
        /// Which answers are errors: `404`, `4xx`, `500-599`; for `errors` only.
        statuses: Vec<RangeInclusive<u16>> = list(statuses(), 1, LIMIT_STATUSES_MAX) => default("[4xx]");
        /// Refuse everything for this long after the limit was passed; 0s = until there is room again.
        penalty: Duration = time(ms(0), secs(86_400)) => default("0s");
        /// Only count and log what would be refused.
        dry_run: bool = flag() => default("false");
        /// Count refused requests too, so that a client that goes on stays refused; for `requests` only.
        count_refused: bool = flag() => default("false");
        /// Bits of an IPv4 address that make a client.
        v4_prefix: u8 = whole(8, 32) => default("32");
        /// Bits of an IPv6 address that make a client; one customer has a /64 or more.
        v6_prefix: u8 = whole(32, 128) => default("64");
    }
}

choices! {
    /// What a limit counts.
    pub enum LimitOf {
        /// Requests, as they come.
        Requests = "requests",
        /// Bytes of answers' bodies, as they end.
        Bytes = "bytes",
        /// Answers with one of `statuses`.
        Errors = "errors",
        /// Milliseconds the WAF computed.
        WafMs = "waf_ms",
        /// Requests at the same time.
        InFlight = "in_flight",
    }
}

/// Limits in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Send `RateLimit` and `RateLimit-Policy`.
    pub headers: bool,
    /// By name.
    pub policies: BTreeMap<String, LimitPolicy>,
}

/// Limits that one place sets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitsLayer {
    /// The profile under the values set here.
    pub profile: Option<Set<String>>,
    /// Send `RateLimit` and `RateLimit-Policy`.
    pub headers: Option<Set<bool>>,
    /// By name; `None` = `off`: not the one inherited by this name.
    pub policies: BTreeMap<String, Set<Option<LimitPolicy>>>,
    /// The line of `off`: none that is inherited.
    off: Option<u32>,
}

/// Laid policy by policy, so that a route adds to what its site has.
const POLICIES: &str = "limits.policies";
const HEADERS: &str = "limits.headers";
const HEADERS_DOC: &str = "Send `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), which tell clients of all limits but dry runs.";
const POLICIES_DOC: &str = "Limits by name; all of them hold. Laid over inherited ones name by name; `NAME: off` takes one away.";

fn headers() -> impl Kind<Out = bool> {
    flag()
}

fn policies() -> Named<Set<Option<LimitPolicy>>> {
    Named::of(
        Shape::Section(LimitPolicy::shape()),
        |node, name, context| {
            let off = matches!(&node.value, Value::Text { text, .. } if text == "off");
            Set {
                value: (!off).then(|| crate::kind::Section::parse(node, name, context)),
                line: node.place.line,
            }
        },
        LIMITS_MAX,
        "client",
    )
    .or_off()
}

impl Layer for LimitsLayer {
    type Resolved = Limits;
    const NAME: &'static str = "limits";

    fn parse(node: &Node, named: bool, context: &mut Context<'_>) -> Self {
        let known = ["profile", "headers", "policies"];
        let known = known.get(usize::from(!named)..).unwrap_or_default();
        crate::define::check_keys(node, known, context);
        Self {
            profile: named
                .then(|| set(node, "profile", &profile(), context))
                .flatten(),
            headers: set(node, "headers", &headers(), context),
            policies: set(node, "policies", &policies(), context)
                .map(|set| set.value)
                .unwrap_or_default(),
            off: None,
        }
    }

    fn off(line: u32) -> Self {
        Self {
            off: Some(line),
            ..Self::default()
        }
    }

    fn profile(&self) -> Option<&Set<String>> {
        self.profile.as_ref()
    }

    fn of_profile(profile: Set<String>) -> Self {
        Self {
            profile: Some(profile),
            ..Self::default()
        }
    }

    fn shape(named: bool) -> shape::Section {
        let mut fields = Vec::new();
        if named {
            fields.push(crate::overlay::profile_field());
        }
        fields.push(describe(
            "headers",
            HEADERS_DOC,
            &headers(),
            default("true"),
        ));
        fields.push(describe(
            "policies",
            POLICIES_DOC,
            &policies(),
            default("{}"),
        ));
        shape::Section {
            name: if named {
                "LimitsLayer"
            } else {
                "LimitsProfile"
            },
            doc: "Limits that one place sets.",
            fields,
        }
    }

    fn defaults(sources: &mut Sources) -> Limits {
        for key in [HEADERS, POLICIES] {
            sources.insert(key.to_owned(), "default".to_owned());
        }
        Limits {
            headers: true,
            policies: BTreeMap::new(),
        }
    }

    fn apply(&self, over: &mut Limits, from: &dyn Fn(u32) -> String, sources: &mut Sources) {
        let key = |name: &str| format!("{POLICIES}.{name}");
        if let Some(line) = self.off {
            for name in std::mem::take(&mut over.policies).keys() {
                sources.remove(&key(name));
            }
            sources.insert(POLICIES.to_owned(), from(line));
        }
        if let Some(headers) = &self.headers {
            over.headers = headers.value;
            sources.insert(HEADERS.to_owned(), from(headers.line));
        }
        for (name, set) in &self.policies {
            if let Some(policy) = &set.value {
                over.policies.insert(name.clone(), policy.clone());
                sources.insert(key(name), from(set.line));
            } else {
                over.policies.remove(name);
                sources.remove(&key(name));
            }
        }
    }
}

impl LimitsLayer {
    /// Whether what is inherited does not hold.
    pub(crate) fn is_off(&self) -> bool {
        self.off.is_some()
    }
}

impl LimitPolicy {
    /// In one sentence, for people: `100 requests in 10s by address`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let amount = |amount| match self.of {
            LimitOf::Bytes => crate::show_size(amount),
            _ => amount.to_string(),
        };
        let what = match (self.of, self.limit) {
            (LimitOf::Requests, 1) => " request",
            (LimitOf::Requests, _) => " requests",
            (LimitOf::Bytes, _) => " sent",
            (LimitOf::Errors, 1) => " error",
            (LimitOf::Errors, _) => " errors",
            (LimitOf::WafMs, _) => " ms of the WAF",
            (LimitOf::InFlight, 1) => " request in flight",
            (LimitOf::InFlight, _) => " requests in flight",
        };
        let keys: Vec<_> = self.key.iter().map(ToString::to_string).collect();
        let mut text = format!("{}{what}", amount(self.limit));
        let mut add = |part: String| text.push_str(&part);
        if let Some(window) = self.window {
            add(format!(" in {}", crate::show_duration(window)));
        }
        add(format!(" by {}", keys.join(" and ")));
        if self.burst > 0 {
            add(format!(", burst {}", amount(self.burst)));
        }
        if !self.penalty.is_zero() {
            add(format!(", penalty {}", crate::show_duration(self.penalty)));
        }
        if self.dry_run {
            add(", dry run".to_owned());
        }
        text
    }
}
