//! Rules that turn faults into bans: "5 WAF blocks in 60 s, then 10 minutes".

use crate::verdict::text;
use crate::{Millis, Prefix, RULE_BAN_MAX, Verdict, VerdictError};
use std::net::IpAddr;
use std::sync::Arc;

/// What somebody did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The WAF blocked a request.
    WafBlock,
    /// A limit refused a request.
    LimitExceeded,
    /// What came was no HTTP, or HTTP that smuggling needs.
    BadRequest,
    /// A module other than the WAF refused a request.
    ModuleRefusal,
}

impl FaultKind {
    fn plural(self) -> &'static str {
        match self {
            Self::WafBlock => "WAF blocks",
            Self::LimitExceeded => "requests over a limit",
            Self::BadRequest => "malformed requests",
            Self::ModuleRefusal => "refusals by a module",
        }
    }
}

/// A rule as the settings say it. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// The author of its bans: 1 to 64 bytes.
    pub name: String,
    /// What it counts.
    pub fault: FaultKind,
    /// How many faults it takes: 2 to 16. One request never bans anybody.
    pub count: u8,
    /// Within how long: 1 s to a day.
    pub window: Millis,
    /// How long the first ban is, a second at least; each further one is twice as long.
    pub ban: Millis,
    /// How long the longest is: at most 30 days.
    pub ban_max: Millis,
    /// IPv6 addresses with this many equal bits are one (32 to 128). IPv4 addresses are told apart.
    pub v6_prefix: u8,
    /// From bans on so many different sites (2 to 8) within this time (a minute to a day) it makes one of the node.
    pub node: Option<(u8, Millis)>,
}

/// A rule that passed its checks.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(crate) spec: RuleSpec,
    pub(crate) author: Arc<str>,
    pub(crate) reason: Arc<str>,
    pub(crate) reason_node: Arc<str>,
}

/// A fault, as the stage that saw it reports it. One for each request and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// What was wrong.
    pub fault: FaultKind,
    /// Who did it.
    pub address: IpAddr,
    /// Whether somebody else told us that address.
    pub forwarded: bool,
    /// On which site; `None` before one is known.
    pub site: Option<&'a str>,
    /// The request's id, as logs and pages show it. A proxy before us may have let the client choose it.
    pub request: &'a str,
    /// What we call the request ourselves: one that is reported twice is known by it.
    pub id: &'a str,
}

impl Rule {
    /// The most faults a rule counts to.
    pub(crate) const COUNT_MAX: usize = 16;
    /// The most sites a rule counts to.
    pub(crate) const SITES_MAX: usize = 8;

    /// Checks a rule.
    ///
    /// # Errors
    /// [`VerdictError`] naming what is out of its range.
    pub fn new(spec: RuleSpec) -> Result<Self, VerdictError> {
        const SECOND: u64 = 1000;
        const DAY: u64 = 86_400 * SECOND;
        text("name of a rule", &spec.name, Verdict::AUTHOR_MAX)?;
        let range = |what, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                let rule = spec.name.clone();
                Err(VerdictError::Rule {
                    rule,
                    what,
                    value,
                    min,
                    max,
                })
            }
        };
        range("count", spec.count.into(), 2, Self::COUNT_MAX as u64)?;
        range("window in milliseconds", spec.window, SECOND, DAY)?;
        range(
            "longest ban in milliseconds",
            spec.ban_max,
            SECOND,
            RULE_BAN_MAX,
        )?;
        range("ban in milliseconds", spec.ban, SECOND, spec.ban_max)?;
        range("IPv6 prefix length", spec.v6_prefix.into(), 32, 128)?;
        let mut reason_node = String::new();
        if let Some((sites, within)) = spec.node {
            range("number of sites", sites.into(), 2, Self::SITES_MAX as u64)?;
            range(
                "time for bans on several sites in milliseconds",
                within,
                60 * SECOND,
                DAY,
            )?;
            reason_node = format!("banned on {sites} sites within {} s", within / SECOND);
        }
        let (count, what) = (spec.count, spec.fault.plural());
        Ok(Self {
            author: spec.name.as_str().into(),
            reason: format!("{count} {what} in {} s", spec.window / SECOND).into(),
            reason_node: reason_node.into(),
            spec,
        })
    }

    /// Whom it counts an address with.
    pub(crate) fn group(&self, address: IpAddr) -> Prefix {
        let whole = Prefix::from(address);
        if whole.is_v6() {
            whole.cut(self.spec.v6_prefix)
        } else {
            whole
        }
    }

    /// How long the ban after so many others is.
    pub(crate) fn ban(&self, before: u8) -> Millis {
        let doubled = self.spec.ban.checked_shl(before.min(32).into());
        let doubled = doubled.filter(|longer| longer >> before.min(32) == self.spec.ban);
        doubled.unwrap_or(Millis::MAX).min(self.spec.ban_max)
    }
}
