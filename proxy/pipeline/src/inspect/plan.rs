//! Which plugins look at the requests of a route, and by which rules: worked out once for a snapshot.

use crate::waf;
use aegis_plugins::{Plugin, Properties};
use aegis_settings::model::{self, Inspect, OnError, PluginStage};
use aegis_settings::resolved::{BodyMode, OverLimit, Route, WafMode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The running plugins of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Plugins {
    /// `plugins:` by name.
    pub named: BTreeMap<String, Named>,
    /// The WAF by profile.
    pub waf: BTreeMap<waf::Profile, Arc<Plugin>>,
}

/// One of `plugins:`, running.
#[derive(Debug, Clone)]
pub struct Named {
    /// It.
    pub plugin: Arc<Plugin>,
    /// Its settings.
    pub settings: Arc<model::Plugin>,
}

/// A plugin a route uses that is not among the running ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{route}: plugin `{plugin}` is not running")]
pub struct Missing {
    /// Key of the route.
    pub route: String,
    /// The plugin.
    pub plugin: String,
}

/// When an inspector looks at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    BeforeCache,
    BeforeOrigin,
}

/// One plugin on one route.
#[derive(Debug)]
pub(crate) struct Inspector {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) properties: Arc<Properties>,
    pub(crate) on_error: OnError,
    /// What it sees of responses.
    pub(crate) response: Inspect,
    /// How much of a response body.
    pub(crate) response_max: u64,
    pub(crate) is_waf: bool,
    /// It tells what it sees and refuses nothing.
    pub(crate) watches: bool,
    /// `block` or `detect`, for events.
    pub(crate) mode: &'static str,
    /// It wants request bodies; others are asked about the head, and no body waits for them.
    pub(crate) reads_body: bool,
}

/// What becomes of long bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BodyRules {
    /// Longer ones are refused.
    pub(crate) reject_above: Option<u64>,
    /// Longer ones are judged piece by piece, and pass meanwhile.
    pub(crate) stream_above: Option<u64>,
    /// Whoever reads bodies only watches: what cannot be held passes.
    pub(crate) watched: bool,
    /// No origin is asked before the whole body was judged.
    pub(crate) spooled: bool,
    /// The most that one request may have to hold, of its body or of the answer's.
    pub(crate) held_most: u64,
}

/// All inspectors of a route.
#[derive(Debug, Default)]
pub(crate) struct RouteInspection {
    /// Name of the site.
    pub(crate) site: Arc<str>,
    pub(crate) before_cache: Arc<[Arc<Inspector>]>,
    pub(crate) before_origin: Arc<[Arc<Inspector>]>,
    pub(crate) body: BodyRules,
    /// Somebody reads request bodies.
    pub(crate) reads_bodies: bool,
    /// Somebody reads response bodies, so the origin shall not compress them.
    pub(crate) reads_responses: bool,
}

impl RouteInspection {
    /// The WAF looks first, so that other modules see what it let pass; then the plugins in their order.
    pub(crate) fn build(
        site: &Arc<str>,
        route: &Route,
        plugins: &Plugins,
    ) -> Result<Self, Missing> {
        let missing = |plugin: &str| Missing {
            route: route.key.clone(),
            plugin: plugin.to_owned(),
        };
        let mut plan = Self {
            site: Arc::clone(site),
            ..Self::default()
        };
        let (mut before_cache, mut before_origin) = (Vec::new(), Vec::new());
        if route.waf.mode != WafMode::Off {
            let plugin = plugins
                .waf
                .get(&waf::Profile::of(&route.waf))
                .ok_or_else(|| missing("waf"))?;
            plan.waf_body(route);
            before_origin.push(Arc::new(waf_inspector(site, route, plugin)));
        }
        for name in &route.plugins {
            let named = plugins.named.get(name).ok_or_else(|| missing(name))?;
            if named.plugin.reads_request_body() {
                plan.refuse_above(named.settings.body_max);
            }
            let inspector = Arc::new(plugin_inspector(site, named));
            match named.settings.stage {
                PluginStage::BeforeCache => before_cache.push(inspector),
                PluginStage::BeforeOrigin => before_origin.push(inspector),
            }
        }
        let all = || before_cache.iter().chain(&before_origin);
        plan.body.watched = all().filter(|i| i.reads_body).all(|i| i.watches);
        if route.waf.body_mode == BodyMode::Spool && !plan.body.watched {
            plan.body.spooled = true;
            // Only a WAF that watches lets long bodies pass here (`aegis-settings` sees to it); another plugin may refuse.
            plan.body.stream_above = None;
        }
        let response_most = all()
            .filter(|i| i.response == Inspect::Body)
            .map(|i| i.response_max);
        let request_most = plan.body.reject_above.max(plan.body.stream_above);
        plan.body.held_most = response_most.chain(request_most).max().unwrap_or(0);
        plan.reads_responses = all().any(|i| i.response == Inspect::Body);
        plan.reads_bodies = all().any(|i| i.reads_body);
        plan.before_cache = before_cache.into();
        plan.before_origin = before_origin.into();
        Ok(plan)
    }

    pub(crate) fn at(&self, stage: Stage) -> &Arc<[Arc<Inspector>]> {
        match stage {
            Stage::BeforeCache => &self.before_cache,
            Stage::BeforeOrigin => &self.before_origin,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.before_cache.is_empty() && self.before_origin.is_empty()
    }

    fn refuse_above(&mut self, bytes: u64) {
        self.body.reject_above = Some(self.body.reject_above.map_or(bytes, |max| max.min(bytes)));
    }

    fn waf_body(&mut self, route: &Route) {
        // A WAF that only watches refuses nothing, long bodies included.
        if route.waf.mode == WafMode::Block && route.waf.over_limit == OverLimit::Reject {
            self.refuse_above(route.waf.held_max);
        } else {
            self.body.stream_above = Some(route.waf.held_max);
        }
    }
}

fn waf_inspector(site: &Arc<str>, route: &Route, plugin: &Arc<Plugin>) -> Inspector {
    Inspector {
        plugin: Arc::clone(plugin),
        properties: Arc::new(Properties {
            site: Arc::clone(site),
            waf_policy: Some(waf::policy(&route.waf)),
            extra: Vec::new(),
        }),
        on_error: route.waf.on_error,
        response: route.waf.inspect_response,
        response_max: route.waf.response_max,
        is_waf: true,
        watches: route.waf.mode == WafMode::Detect,
        reads_body: plugin.reads_request_body(),
        mode: if route.waf.mode == WafMode::Block {
            "block"
        } else {
            "detect"
        },
    }
}

fn plugin_inspector(site: &Arc<str>, named: &Named) -> Inspector {
    Inspector {
        plugin: Arc::clone(&named.plugin),
        properties: Arc::new(Properties {
            site: Arc::clone(site),
            waf_policy: None,
            extra: Vec::new(),
        }),
        on_error: named.settings.on_error,
        response: named.settings.inspect_response,
        response_max: named.settings.body_max,
        is_waf: false,
        watches: false,
        reads_body: named.plugin.reads_request_body(),
        mode: "block",
    }
}
