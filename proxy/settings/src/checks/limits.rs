//! Limits: what fits together in one, and how many hold for one request.

use super::layers;
use crate::context::Checker;
use crate::limits::{LIMIT_BURST_WINDOWS_MAX, LIMIT_CORES_MAX, LIMITS_MAX};
use crate::model::{LimitKey, LimitOf, LimitPolicy, LimitsLayer, Settings, WafMode};
use crate::overlay::Layer;
use crate::problem::remedy;
use crate::resolved::{Action, Site};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

pub(super) fn check(settings: &Settings, sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    let tls = settings
        .listeners
        .iter()
        .any(|listener| listener.tls.is_some());
    let profiles = settings.profiles.limits.iter();
    let profiles = profiles.map(|(name, layer)| (format!("profiles.limits.{name}"), layer));
    let places = layers(
        settings,
        |site| site.limits.as_ref(),
        |route| route.limits.as_ref(),
    );
    let places = places.filter_map(|(key, layer)| Some((key, layer?)));
    for (key, layer) in profiles.chain(places) {
        for (name, set) in &layer.policies {
            let key = format!("{key}.policies.{name}");
            if let Some(policy) = &set.value
                && !checker.is_bad(&key)
            {
                one(&key, policy, tls, checker);
            }
        }
    }
    nothing_to_take_away(settings, checker);
    together(sites, checker);
    never_counting(sites, checker);
}

fn one(key: &str, policy: &LimitPolicy, tls: bool, checker: &mut Checker<'_, '_>) {
    let mut wrong = |field: &str, what: &str, help: &str| {
        let key = format!("{key}.{field}");
        if !checker.is_bad(&key) {
            checker.error(&key, what, help);
        }
    };
    let of = policy.of;
    match policy.window {
        None if of != LimitOf::InFlight => {
            checker.error(
                key,
                ": `window` is missing",
                "add the time it is counted over, such as `window: 10s`",
            );
            return;
        }
        Some(_) if of == LimitOf::InFlight => wrong(
            "window",
            ": what is in flight has no window",
            "remove it; for requests in a time write `of: requests`",
        ),
        Some(window) if of == LimitOf::WafMs => {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let most = window.saturating_mul(LIMIT_CORES_MAX);
            if policy.limit > most {
                let what = format!(
                    ": {} ms is more than {LIMIT_CORES_MAX} cores compute in the window",
                    policy.limit
                );
                wrong("limit", &what, &format!("at most {most}"));
            }
        }
        _ => {}
    }
    if policy.burst > 0 && of == LimitOf::InFlight {
        wrong(
            "burst",
            ": what is in flight has no burst",
            "remove it, or raise `limit`",
        );
    }
    let most = policy.limit.saturating_mul(LIMIT_BURST_WINDOWS_MAX);
    if policy.burst > most {
        let what = format!(
            ": {} is more than {LIMIT_BURST_WINDOWS_MAX} windows' worth",
            policy.burst
        );
        wrong(
            "burst",
            &what,
            &format!("at most {most}; or make `window` longer"),
        );
    }
    if of != LimitOf::Errors && policy.statuses != [400..=499] {
        let what = format!(": `of: {of}` does not look at statuses");
        wrong("statuses", &what, "remove it, or write `of: errors`");
    }
    if of != LimitOf::Requests && policy.count_refused {
        let what = format!(": `of: {of}` never counts what is refused");
        wrong("count_refused", &what, "remove it, or write `of: requests`");
    }
    for (index, part) in policy.key.iter().enumerate() {
        let at = format!("key[{index}]");
        if policy.key.iter().take(index).any(|before| before == part) {
            wrong(&at, &format!(": `{part}` stands here twice"), "remove one");
        }
    }
    if !tls && let Some(index) = policy.key.iter().position(|part| *part == LimitKey::Ja4) {
        checker.warn(
            &format!("{key}.key[{index}]"),
            ": no listener speaks TLS, so there is no fingerprint",
            "clients are counted by their address there; add `tls: {}` to a listener",
        );
    }
}

/// `NAME: off` where nothing of that name is inherited.
fn nothing_to_take_away(settings: &Settings, checker: &mut Checker<'_, '_>) {
    for (name, profile) in &settings.profiles.limits {
        lay(
            &format!("profiles.limits.{name}"),
            None,
            profile,
            &mut BTreeSet::new(),
            checker,
        );
    }
    let profile = |layer: &LimitsLayer| {
        let name = layer.profile()?;
        settings.profiles.limits.get(&name.value)
    };
    for (index, site) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        let mut names = BTreeSet::new();
        if let Some(layer) = &site.limits {
            lay(
                &format!("{key}.limits"),
                profile(layer),
                layer,
                &mut names,
                checker,
            );
        }
        for (at, route) in site.routes.iter().enumerate() {
            let key = format!("{key}.routes[{at}].limits");
            if let Some(layer) = &route.limits {
                lay(&key, profile(layer), layer, &mut names.clone(), checker);
            }
        }
    }
}

/// Lays the names of a profile and of a layer over those in force.
fn lay<'a>(
    key: &str,
    profile: Option<&'a LimitsLayer>,
    layer: &'a LimitsLayer,
    names: &mut BTreeSet<&'a str>,
    checker: &mut Checker<'_, '_>,
) {
    if layer.is_off() {
        names.clear();
    }
    let of_profile = profile.iter().flat_map(|profile| &profile.policies);
    names.extend(
        of_profile
            .filter(|(_, set)| set.value.is_some())
            .map(|(name, _)| name.as_str()),
    );
    for (name, set) in &layer.policies {
        let known = names.clone();
        if set.value.is_some() {
            names.insert(name);
        } else if !names.remove(name.as_str()) {
            let place = format!("{key}.policies.{name}");
            if !checker.is_bad(&place) {
                let help = if known.is_empty() {
                    "no limit is inherited here; remove it".to_owned()
                } else {
                    remedy(name, known, "inherited limits")
                };
                checker.error(&place, ": no limit of this name is inherited", help);
            }
        }
    }
}

/// How many hold for one request.
fn together(sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    for site in sites {
        let mut said = HashSet::new();
        // The site's own come first, so that a problem stands at the site when its routes only inherit it.
        for route in site.routes.iter().rev() {
            let names: Vec<_> = route.limits.policies.keys().collect();
            let key = format!("{}.limits", route.key);
            if names.len() > LIMITS_MAX && !checker.is_bad(&key) && said.insert(names.clone()) {
                let count = names.len();
                let help = "take some away with `NAME: off`, or put what they limit into one";
                checker.error(
                    &key,
                    &format!(": {count} limits hold here; {LIMITS_MAX} is the most"),
                    help,
                );
            }
        }
    }
}

/// Limits on what the WAF computes, where it never runs.
fn never_counting(sites: &[Arc<Site>], checker: &mut Checker<'_, '_>) {
    // Where a policy is written → one route it holds for, and whether the WAF runs on any.
    let mut places: BTreeMap<&str, (String, bool)> = BTreeMap::new();
    for route in sites.iter().flat_map(|site| site.routes.iter().rev()) {
        let runs = route.waf.mode != WafMode::Off && matches!(route.action, Action::Proxy { .. });
        for policy in route
            .limits
            .policies
            .values()
            .filter(|policy| policy.of == LimitOf::WafMs)
        {
            let Some(source) = route
                .sources
                .get(&format!("limits.policies.{}", policy.name))
            else {
                continue;
            };
            let key = source.split(" (").next().unwrap_or_default();
            let place = format!("{key}.policies.{}", policy.name);
            places.entry(source).or_insert((place, false)).1 |= runs;
        }
    }
    for (place, _) in places.into_values().filter(|(_, runs)| !runs) {
        if !checker.is_bad(&place) {
            checker.warn(
                &place,
                ": the WAF runs nowhere this limit holds, so it never counts anything",
                "turn the WAF on there (`waf: { mode: block }`), or remove the limit",
            );
        }
    }
}
