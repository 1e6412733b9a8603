//! What routes do, and whether anybody reaches them.

use crate::context::Checker;
use crate::model::{Match, Settings, Site, SiteRoute};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    for (index, site) in settings.sites.iter().enumerate() {
        let key = format!("sites[{index}]");
        if checker.is_bad(&key) {
            continue;
        }
        for (at, route) in site.routes.iter().enumerate() {
            let key = format!("{key}.routes[{at}]");
            if !checker.is_bad(&key) {
                action(site, route, &key, checker);
                reached(site, at, &key, checker);
                taken(site, route, &key, checker);
            }
        }
        ends(site, &key, checker);
    }
}

/// A route does one thing, and what it does uses every key it has.
fn action(site: &Site, route: &SiteRoute, key: &str, checker: &mut Checker<'_, '_>) {
    let (origin, redirect, respond) = (
        route.origin.is_some(),
        route.redirect.is_some(),
        route.respond.is_some(),
    );
    let written: Vec<&str> = [
        ("origin", origin),
        ("redirect", redirect),
        ("respond", respond),
    ]
    .iter()
    .filter_map(|(name, there)| there.then_some(*name))
    .collect();
    if let [first, .., last] = written.as_slice() {
        let what = format!(" cannot stand beside `{first}`");
        checker.error(
            &format!("{key}.{last}"),
            &what,
            "a route asks an origin, or redirects, or responds: keep one",
        );
        return;
    }
    if written.is_empty() && site.origin.is_none() {
        let missing = " has no origin, and neither has its site";
        checker.error(
            key,
            missing,
            "add `origin:`, `redirect:` or `respond:` here, or `origin:` at the site",
        );
        return;
    }
    if !redirect && !respond {
        return;
    }
    let layers = [
        ("waf", route.waf.is_some()),
        ("cache", route.cache.is_some()),
        ("plugins", route.plugins.is_some()),
    ];
    for (name, _) in layers.iter().filter(|(_, there)| *there) {
        let what = " has no effect: this route asks no origin";
        checker.error(
            &format!("{key}.{name}"),
            what,
            "remove it; a redirect or an answer written here passes none of that",
        );
    }
    if let Some(respond) = &route.respond
        && matches!(respond.status, 204 | 205 | 304)
        && !respond.body.is_empty()
    {
        let what = format!(": an answer with status {} has no body", respond.status);
        checker.error(
            &format!("{key}.respond.body"),
            &what,
            "remove it, or choose another status",
        );
    }
}

/// Warns of a route that an earlier, wider one hides.
fn reached(site: &Site, at: usize, key: &str, checker: &mut Checker<'_, '_>) {
    let Some(route) = site.routes.get(at) else {
        return;
    };
    let hides = |before: &SiteRoute| covers(&before.matches, &route.matches);
    if let Some(before) = site.routes.iter().take(at).position(hides) {
        let parent = key.rsplit_once('[').map_or(key, |(parent, _)| parent);
        let path = site
            .routes
            .get(before)
            .map_or("", |before| before.matches.path.as_str());
        let what = format!(
            " is never reached: {parent}[{before}] ({path}) comes before it and is as wide"
        );
        checker.warn(key, &what, "move it up, or remove it");
    }
}

/// A route is not chosen only for what it then refuses.
fn taken(site: &Site, route: &SiteRoute, key: &str, checker: &mut Checker<'_, '_>) {
    let Some(taken) = route.methods.as_ref().or(site.methods.as_ref()) else {
        return;
    };
    let matched = &route.matches.methods;
    if matched.is_empty() || matched.iter().any(|method| taken.contains(method)) {
        return;
    }
    let what = format!(
        " matches only {}, which `methods` does not take: every request would get 405",
        matched.join(", ")
    );
    let help = "add them to `methods` of the route or its site, or remove the route";
    checker.error(&format!("{key}.match.methods"), &what, help);
}

fn covers(wide: &Match, narrow: &Match) -> bool {
    let methods = wide.methods.is_empty()
        || (!narrow.methods.is_empty()
            && narrow
                .methods
                .iter()
                .all(|method| wide.methods.contains(method)));
    let path = match wide.path.strip_suffix('*') {
        Some(prefix) if wide.path.ends_with("/*") => narrow.path.starts_with(prefix),
        _ => wide.path == narrow.path,
    };
    methods && path
}

/// Without an origin of its own, a site needs a route that takes what is left.
fn ends(site: &Site, key: &str, checker: &mut Checker<'_, '_>) {
    let all = |route: &SiteRoute| route.matches.path == "/*" && route.matches.methods.is_empty();
    let bad = checker.is_bad(&format!("{key}.origin")) || checker.is_bad(&format!("{key}.routes"));
    if site.origin.is_some() || site.routes.iter().any(all) || bad {
        return;
    }
    let help = "add `origin:` (a URL or the name of a pool), or a last route with `path: /*`";
    let what = if site.routes.is_empty() {
        " has no origin"
    } else {
        " has no origin for requests that no route takes"
    };
    checker.error(key, what, help);
}

#[cfg(test)]
mod tests {
    use super::{Match, covers};

    #[test]
    fn a_route_covers_what_it_is_as_wide_as() {
        let matches = |path: &str, methods: &[&str]| Match {
            path: path.to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        };
        for (wide, narrow, expected) in [
            (matches("/*", &[]), matches("/x", &["GET"]), true),
            (matches("/a/*", &[]), matches("/a/b/*", &[]), true),
            (matches("/a/*", &[]), matches("/ab", &[]), false),
            (matches("/a/*", &["GET"]), matches("/a/*", &[]), false),
            (
                matches("/a/*", &["GET", "PUT"]),
                matches("/a/*", &["PUT"]),
                true,
            ),
            (matches("/a", &[]), matches("/a", &[]), true),
            (matches("/a", &[]), matches("/a/*", &[]), false),
        ] {
            assert_eq!(covers(&wide, &narrow), expected, "{wide:?} {narrow:?}");
        }
    }
}
