//! Names that must exist, hosts that must not stand twice, and what nobody uses.

use super::layers;
use crate::context::Checker;
use crate::model::{Origin, Settings};
use crate::overlay::Layer;
use crate::problem::remedy;
use std::collections::{BTreeMap, HashMap, HashSet};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    hosts(settings, checker);
    let mut names = Names {
        settings,
        checker,
        pools: Used::default(),
        plugins: Used::default(),
    };
    for (index, site) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        names.origin(&key, site.origin.as_ref());
        names.plugins(&key, site.plugins.as_deref());
        for (index, route) in site.routes.iter().enumerate() {
            let key = format!("{key}.routes[{index}]");
            names.origin(&key, route.origin.as_ref());
            names.plugins(&key, route.plugins.as_deref());
        }
    }
    for (name, plugin) in &settings.plugins {
        for (index, pool) in plugin.http_call.iter().enumerate() {
            names.pool(&format!("plugins.{name}.http_call[{index}]"), pool);
        }
    }
    let (pools, plugins) = (names.pools, names.plugins);
    unused("pools", settings.pools.keys(), &pools, checker);
    unused("plugins", settings.plugins.keys(), &plugins, checker);
    let waf = layers(
        settings,
        |site| site.waf.as_ref(),
        |route| route.waf.as_ref(),
    );
    profiles(waf, &settings.profiles.waf, &["block", "detect"], checker);
    let cache = layers(
        settings,
        |site| site.cache.as_ref(),
        |route| route.cache.as_ref(),
    );
    profiles(cache, &settings.profiles.cache, &[], checker);
    let limits = layers(
        settings,
        |site| site.limits.as_ref(),
        |route| route.limits.as_ref(),
    );
    profiles(limits, &settings.profiles.limits, &[], checker);
}

fn hosts(settings: &Settings, checker: &mut Checker<'_, '_>) {
    let mut seen: HashMap<&str, String> = HashMap::new();
    for (index, site) in settings.sites.iter().enumerate() {
        for (at, host) in site.hosts.iter().enumerate() {
            let key = format!("sites[{index}].hosts[{at}]");
            if checker.is_bad(&key) {
                continue;
            }
            if let Some(first) = seen.get(host.as_str()) {
                let what = format!(" `{host}` is also {first}");
                checker.error(
                    &key,
                    &what,
                    "a host belongs to one site; remove one of them",
                );
            } else {
                seen.insert(host, key);
            }
        }
    }
}

/// Names that something refers to.
#[derive(Default)]
struct Used<'a> {
    names: HashSet<&'a str>,
    /// One of them does not exist: then what looks unused may be what was meant.
    missing: bool,
}

struct Names<'a, 'r, 'b, 'c> {
    settings: &'a Settings,
    checker: &'r mut Checker<'b, 'c>,
    pools: Used<'a>,
    plugins: Used<'a>,
}

impl<'a> Names<'a, '_, '_, '_> {
    fn origin(&mut self, key: &str, origin: Option<&'a Origin>) {
        if let Some(Origin::Pool(name)) = origin {
            self.pool(&format!("{key}.origin"), name);
        }
    }

    fn pool(&mut self, key: &str, name: &'a str) {
        self.pools.names.insert(name);
        let known = &self.settings.pools;
        if self.checker.is_bad(key) {
            self.pools.missing = true;
        } else if !known.contains_key(name) && !self.checker.is_bad("pools") {
            self.pools.missing = true;
            let help = remedy(name, known.keys().map(String::as_str), "pools");
            self.checker
                .error(key, &format!(": pool `{name}` does not exist"), help);
        }
    }

    fn plugins(&mut self, key: &str, names: Option<&'a [String]>) {
        let names = names.unwrap_or_default();
        for (index, name) in names.iter().enumerate() {
            self.plugins.names.insert(name);
            let key = format!("{key}.plugins[{index}]");
            if self.checker.is_bad(&key) || self.checker.is_bad("plugins") {
                self.plugins.missing = true;
                continue;
            }
            let known = &self.settings.plugins;
            if !known.contains_key(name) {
                self.plugins.missing = true;
                let help = remedy(name, known.keys().map(String::as_str), "plugins");
                self.checker
                    .error(&key, &format!(": plugin `{name}` does not exist"), help);
            } else if names.iter().take(index).any(|before| before == name) {
                self.checker.error(
                    &key,
                    &format!(": plugin `{name}` stands here twice"),
                    "remove one",
                );
            }
        }
    }
}

fn profiles<'a, L: Layer + 'a>(
    layers: impl Iterator<Item = (String, Option<&'a L>)>,
    known: &BTreeMap<String, L>,
    modes: &[&str],
    checker: &mut Checker<'_, '_>,
) {
    let mut used = Used::default();
    for (key, layer) in layers {
        let Some(name) = layer.and_then(Layer::profile) else {
            continue;
        };
        let name = name.value.as_str();
        used.names.insert(name);
        let inner = format!("{key}.profile");
        let place = if checker.root.place_of(&inner) == checker.root.place_of(&key) {
            &key
        } else {
            &inner
        };
        if known.contains_key(name) || checker.is_bad(place) || checker.is_bad("profiles") {
            continue;
        }
        used.missing = true;
        let help = if modes.contains(&name) {
            format!("for the mode write `{}: {{ mode: {name} }}`", L::NAME)
        } else {
            remedy(name, known.keys().map(String::as_str), "profiles")
        };
        checker.error(place, &format!(": profile `{name}` does not exist"), help);
    }
    unused(
        &format!("profiles.{}", L::NAME),
        known.keys(),
        &used,
        checker,
    );
}

fn unused<'a>(
    section: &str,
    known: impl Iterator<Item = &'a String>,
    used: &Used<'_>,
    checker: &mut Checker<'_, '_>,
) {
    if used.missing || checker.is_bad("sites") {
        return;
    }
    for name in known.filter(|name| !used.names.contains(name.as_str())) {
        let key = format!("{section}.{name}");
        if !checker.is_bad(&key) {
            checker.warn(
                &key,
                " is used nowhere",
                "name it where it is meant to work, or remove it",
            );
        }
    }
}
