//! `node.verdicts:` bans, allows, and the rules that make bans.

use crate::define::{choices, default, optional, required, settings};
use crate::kind::net::network;
use crate::kind::scalar::{choice, name, secs, time, whole};
use crate::kind::{list, maybe, section};
use crate::limits::{NETWORKS_MAX, VERDICT_RULES_MAX};
use crate::networks::Network;
use std::time::Duration;

settings! {
    /// Bans, allows, and the rules that make bans.
    pub struct Verdicts {
        /// Bans and allows kept; when there are more, the rules' ban that ends first goes, an operator's never does.
        entries_max: usize = whole(1, 1_000_000) => default("1000000").restart();
        /// Whom no rule may ban, and an operator only by force; beside loopback, this machine's own addresses, its
        /// gateway, trusted proxies and origins.
        never_ban: Vec<Network> = list(network(), 0, NETWORKS_MAX) => default("[]");
        /// What turns repeated faults into bans; none by default.
        rules: Vec<VerdictRule> = list(section(), 0, VERDICT_RULES_MAX) => default("[]");
    }
}

settings! {
    /// A rule that makes bans.
    pub struct VerdictRule {
        /// The author of its bans.
        name: String = name("a name") => required(&["waf"]);
        /// What it counts.
        fault: VerdictFault = choice() => required(&["waf_block"]);
        /// How many faults of one client on one site make a ban.
        count: u8 = whole(2, 16) => default("5");
        /// Within how long.
        window: Duration = time(secs(1), secs(86_400)) => default("1m");
        /// The first ban; each further one within a day of the last is twice as long.
        ban: Duration = time(secs(1), secs(30 * 86_400)) => default("10m");
        /// The longest ban.
        ban_max: Duration = time(secs(1), secs(30 * 86_400)) => default("1d");
        /// IPv6 addresses with this many equal bits are one client.
        v6_prefix: u8 = whole(32, 128) => default("64");
        /// From bans on several sites on the ban holds on all of them; without it a ban stays on its site.
        node: Option<VerdictNode> = maybe(section()) => optional(&[]);
    }
}

settings! {
    /// When bans of sites become one of the node.
    pub struct VerdictNode {
        /// On how many different sites.
        sites: u8 = whole(2, 8) => default("3");
        /// Within how long.
        within: Duration = time(secs(60), secs(86_400)) => default("1h");
    }
}

choices! {
    /// What a rule counts.
    pub enum VerdictFault {
        /// The WAF blocked what a client sent.
        WafBlock = "waf_block",
        /// What came is no HTTP, or HTTP that smuggling needs.
        BadRequest = "bad_request",
        /// A limit refused it.
        LimitExceeded = "limit_exceeded",
        /// A plugin other than the WAF refused it.
        ModuleRefusal = "module_refusal",
    }
}
