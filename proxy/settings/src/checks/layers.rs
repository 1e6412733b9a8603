//! What profiles, sites and routes give together.

use crate::context::Checker;
use crate::limits::WAF_COMPILED_MAX;
use crate::model::{BodyMode, CacheLayer, OverLimit, Settings, WafLayer, WafMode};
use crate::overlay::Layer;
use crate::resolved::{Action, Route, Site};
use crate::scalar::show_size;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) fn check(settings: &Settings, sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    let mut compiled: HashSet<[&[PathBuf]; 2]> = HashSet::new();
    // What several routes inherit is said once, for each place it comes from.
    let mut said = HashSet::new();
    for site in sites {
        let mut full = false;
        // The site's own values come first, so that a problem stands at the site when its routes only inherit it.
        for route in site.routes.iter().rev() {
            if !matches!(route.action, Action::Proxy { .. }) {
                continue;
            }
            sizes(settings, route, &mut said, checker);
            if route.waf.mode == WafMode::Off {
                continue;
            }
            let own = [
                route.waf.seclang_before.as_slice(),
                route.waf.seclang.as_slice(),
            ];
            if compiled.len() >= WAF_COMPILED_MAX && !compiled.contains(&own) {
                let key = format!("{}.waf", route.key);
                if !full && !checker.is_bad(&key) {
                    full = true;
                    let what = format!(
                        ": this is the {}th list of `seclang` files",
                        WAF_COMPILED_MAX + 1
                    );
                    let help = format!(
                        "each list is a rule set in memory, at most {WAF_COMPILED_MAX}; share lists between sites"
                    );
                    checker.error(&key, &what, help);
                }
                continue;
            }
            compiled.insert(own);
        }
    }
    for (index, written) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        still_off(
            settings,
            &key,
            written.waf.as_ref(),
            written.cache.as_ref(),
            sites.get(index),
            checker,
        );
        for (at, route) in written.routes.iter().enumerate() {
            let key = format!("{key}.routes[{at}]");
            still_off(
                settings,
                &key,
                route.waf.as_ref(),
                route.cache.as_ref(),
                sites.get(index),
                checker,
            );
        }
    }
}

fn sizes(
    settings: &Settings,
    route: &Route,
    said: &mut HashSet<String>,
    checker: &mut Checker<'_, '_>,
) {
    let (waf, node) = (&route.waf, &settings.node);
    let on = waf.mode != WafMode::Off;
    let waf_key = |name: &str| format!("{}.waf.{name}", route.key);
    let (text, held) = (waf_key("text_max"), waf_key("held_max"));
    if on && waf.text_max > waf.held_max && !checker.is_bad(&text) && !checker.is_bad(&held) {
        let help = source(route, &["waf.text_max", "waf.held_max"]);
        if said.insert(help.clone()) {
            let (part, whole) = (show_size(waf.text_max), show_size(waf.held_max));
            checker.error(
                &text,
                &format!(" {part} is more than held_max {whole}"),
                help,
            );
        }
    }
    if on
        && waf.held_max > node.bodies_held_max
        && !checker.is_bad(&held)
        && !checker.is_bad("node.bodies_held_max")
    {
        let help = source(route, &["waf.held_max"]);
        if said.insert(help.clone()) {
            let (one, all) = (show_size(waf.held_max), show_size(node.bodies_held_max));
            checker.error(
                &held,
                &format!(" {one} is more than node.bodies_held_max {all}, which all share"),
                help,
            );
        }
    }
    let mode = waf_key("body_mode");
    if on && waf.body_mode == BodyMode::Spool && !checker.is_bad(&mode) {
        if waf.mode == WafMode::Block && waf.over_limit == OverLimit::Stream {
            let help = source(route, &["waf.body_mode", "waf.over_limit"]);
            if said.insert(help.clone()) {
                checker.error(
                    &mode,
                    ": `spool` shows the origin nothing of a blocked request, over_limit `stream` the head of a long one: set over_limit to reject, or body_mode to hold",
                    help,
                );
            }
        }
        let all = node.bodies_spooled_max;
        if waf.held_max > all
            && !checker.is_bad(&held)
            && !checker.is_bad("node.bodies_spooled_max")
        {
            let help = source(route, &["waf.held_max", "waf.body_mode"]);
            if said.insert(help.clone()) {
                let (one, all) = (show_size(waf.held_max), show_size(all));
                checker.error(
                    &held,
                    &format!(" {one} is more than node.bodies_spooled_max {all}, which all share"),
                    help,
                );
            }
        }
    }
    let (cache, object) = (&route.cache, format!("{}.cache.object_max", route.key));
    if cache.enabled && cache.object_max > node.cache.memory && !checker.is_bad("node.cache.memory")
    {
        let help = source(route, &["cache.object_max"]);
        if said.insert(help.clone()) {
            let (one, all) = (show_size(cache.object_max), show_size(node.cache.memory));
            checker.warn(
                &object,
                &format!(" {one} is more than node.cache.memory {all}, which all share"),
                help,
            );
        }
    }
}

/// Says where values come from that do not fit together.
fn source(route: &Route, keys: &[&str]) -> String {
    let lines: Vec<String> = keys
        .iter()
        .filter_map(|key| {
            route
                .sources
                .get(*key)
                .map(|source| format!("{key} comes from: {source}"))
        })
        .collect();
    lines.join("\n")
}

/// Warns when a profile is named in order to switch something on, and an `off` further out keeps it off.
fn still_off(
    settings: &Settings,
    key: &str,
    waf: Option<&WafLayer>,
    cache: Option<&CacheLayer>,
    site: Option<&Arc<Site>>,
    checker: &mut Checker<'_, '_>,
) {
    let Some(route) = site.and_then(|site| site.routes.iter().find(|route| route.key == key))
    else {
        return;
    };
    if let Some(name) = waf.and_then(Layer::profile)
        && route.waf.mode == WafMode::Off
        && settings.profiles.waf.contains_key(&name.value)
        && outside(route, "waf.mode", key, &name.value)
    {
        let what = format!(" names profile `{}`, but the WAF stays off", name.value);
        let help = format!(
            "{}\nto switch it on add `mode: block`",
            source(route, &["waf.mode"])
        );
        checker.warn(&format!("{key}.waf"), &what, help);
    }
    if let Some(name) = cache.and_then(Layer::profile)
        && !route.cache.enabled
        && settings.profiles.cache.contains_key(&name.value)
        && outside(route, "cache.enabled", key, &name.value)
    {
        let what = format!(" names profile `{}`, but the cache stays off", name.value);
        let help = format!(
            "{}\nto switch it on add `enabled: true`",
            source(route, &["cache.enabled"])
        );
        checker.warn(&format!("{key}.cache"), &what, help);
    }
}

/// Whether a value was set neither here nor by the profile named here.
fn outside(route: &Route, value: &str, key: &str, profile: &str) -> bool {
    let section = value.split('.').next().unwrap_or_default();
    let here = [
        format!("{key}.{section} ("),
        format!("profiles.{section}.{profile} ("),
    ];
    route
        .sources
        .get(value)
        .is_some_and(|source| !here.iter().any(|here| source.starts_with(here)))
}
