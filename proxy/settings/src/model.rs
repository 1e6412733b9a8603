//! The settings as written, after parsing and checking: every field has its value or its default.
//!
//! Each file below holds one section of the settings, in the one definition that everything else is made from.

mod cache;
mod limits;
mod listeners;
mod node;
mod plugins;
mod pools;
mod site_tls;
mod sites;
mod verdicts;
mod waf;

pub use cache::{Cache, CacheLayer};
pub use limits::{LimitKey, LimitOf, LimitPolicy, Limits, LimitsLayer};
pub use listeners::{Certificate, Listener, ListenerTls, ProxyProtocol, TlsPreset};
pub use node::{
    AccessFormat, Admin, AdminRole, AdminToken, Client, Collector, ForwardedField, Level, Log,
    LogTarget, Node, NodeCache, NodeLimits, NodeTls, PluginPool, Shutdown, Tracing,
};
pub use plugins::{Inspect, OnError, Plugin, PluginInstances, PluginStage};
pub use pools::{Health, OriginTls, Pool};
pub use site_tls::{ClientAuth, ClientAuthMode, ClientField, Hsts, Https};
pub use sites::{Match, Origin, Redirect, Respond, Site, SiteRoute};
pub use verdicts::{VerdictFault, VerdictNode, VerdictRule, Verdicts};
pub use waf::{BodyMode, Compressed, OverLimit, RuleTarget, Waf, WafLayer, WafMode};

pub use crate::kind::file::Secret;
pub use crate::overlay::Set;

use crate::define::{default, required, settings};
use crate::kind::scalar::whole;
use crate::kind::{Named, list, named, section};
use crate::limits::{
    CERTIFICATES_MAX, LISTENERS_MAX, PLUGINS_MAX, POOLS_MAX, PROFILES_MAX, SITES_MAX,
};
use crate::overlay::Layer;
use crate::shape::Shape;
use std::collections::BTreeMap;

settings! {
    /// The whole file.
    pub struct Settings {
        /// Format of this file.
        version: u32 = whole(1, 1) => required(&["1"]);
        /// What belongs to this machine.
        node: Node = section() => default("{}").restart();
        /// Where clients connect.
        listeners: Vec<Listener> = list(section(), 1, LISTENERS_MAX).shown(&[&[], &["address"]])
            => required(&[]);
        /// Certificates for all TLS listeners, chosen by the name a client asks for (SNI); without any, a self-signed
        /// one is made and kept.
        certificates: Vec<Certificate> = list(section(), 0, CERTIFICATES_MAX) => default("[]");
        /// Named sets of values for sites and routes: profile, site, route; the nearer wins, key by key.
        profiles: Profiles = section() => default("{}");
        /// Named groups of origin servers.
        pools: BTreeMap<String, Pool> = named(POOLS_MAX, "app") => default("{}");
        /// proxy-wasm modules.
        plugins: BTreeMap<String, Plugin> = named(PLUGINS_MAX, "bots") => default("{}");
        /// The sites this node answers for.
        sites: Vec<Site> = list(section(), 1, SITES_MAX) => required(&[]);
    }
}

settings! {
    /// Profiles by name.
    pub struct Profiles {
        /// Values for `waf:`.
        waf: BTreeMap<String, WafLayer> = profiles::<WafLayer>("strict") => default("{}");
        /// Values for `cache:`.
        cache: BTreeMap<String, CacheLayer> = profiles::<CacheLayer>("pages") => default("{}");
        /// Values for `limits:`.
        limits: BTreeMap<String, LimitsLayer> = profiles::<LimitsLayer>("fair") => default("{}");
    }
}

fn profiles<L: Layer>(shown: &'static str) -> Named<L> {
    Named::of(
        Shape::Section(L::shape(false)),
        |node, _, context| L::parse(node, false, context),
        PROFILES_MAX,
        shown,
    )
}
