//! Profile, site, route: nearer wins key by key, and says where a value came from.

use super::{messages, parse};
use crate::model::{Inspect, WafMode};
use crate::render;
use crate::resolved::{Action, Validated};
use std::time::Duration;

fn good(text: &str) -> Validated {
    let loaded = parse(text);
    let said = render(&loaded.problems, false);
    loaded.result.unwrap_or_else(|()| panic!("{said}"))
}

const LAYERS: &str = "\
version: 1
listeners: [{ address: \"127.0.0.1:0\" }]
profiles:
  waf:
    strict:
      paranoia: 3
      inspect_response: body
      exclude_rules: [1, 2]
  cache:
    pages: { ttl_default: 1m }
pools:
  app: { servers: [\"10.0.0.5:80\"] }
sites:
  - hosts: [Shop.Example.com]
    origin: app
    waf:
      profile: strict
      paranoia: 2
    cache: pages
    routes:
      - match: { path: /api/*, methods: [GET, PUT] }
        origin: https://api.internal
        waf: { mode: detect, exclude_rules: [] }
        cache: off
      - match: { path: /old }
        redirect: { to: \"https://{host}{path}\" }
";

#[test]
fn the_nearer_value_wins_key_by_key_and_names_its_source() {
    let validated = good(LAYERS);
    let site = &validated.sites[0];
    assert_eq!(
        (site.name.as_str(), site.routes.len()),
        ("shop.example.com", 3)
    );
    let (api, own) = (&site.routes[0], &site.routes[2]);
    let source = |route: &crate::resolved::Route, key: &str| {
        route.sources.get(key).cloned().unwrap_or_default()
    };

    assert_eq!((own.key.as_str(), own.path.as_str()), ("sites[0]", "/*"));
    assert_eq!(
        own.action,
        Action::Proxy {
            pool: "app".to_owned()
        }
    );
    assert_eq!((own.waf.mode, own.waf.paranoia), (WafMode::Block, 2));
    assert_eq!(own.waf.exclude_rules, [1, 2]);
    assert_eq!(source(own, "waf.mode"), "default");
    assert_eq!(source(own, "waf.paranoia"), "sites[0].waf (aegis.yaml:18)");
    assert_eq!(
        source(own, "waf.inspect_response"),
        "profiles.waf.strict (aegis.yaml:7)"
    );
    assert_eq!(
        source(own, "cache.ttl_default"),
        "profiles.cache.pages (aegis.yaml:10)"
    );
    assert_eq!(source(own, "action"), "sites[0].origin (aegis.yaml:15)");
    assert_eq!(source(own, "plugins"), "default");

    assert_eq!(api.key, "sites[0].routes[0]");
    assert_eq!(api.methods, ["GET", "PUT"]);
    assert_eq!(
        api.action,
        Action::Proxy {
            pool: "https://api.internal:443".to_owned()
        }
    );
    assert_eq!(
        (api.waf.mode, api.waf.paranoia, api.waf.inspect_response),
        (WafMode::Detect, 2, Inspect::Body)
    );
    assert!(
        api.waf.exclude_rules.is_empty(),
        "a list is replaced, not added to"
    );
    assert_eq!(
        source(api, "waf.mode"),
        "sites[0].routes[0].waf (aegis.yaml:23)"
    );
    assert!(!api.cache.enabled && own.cache.enabled);
    assert_eq!(api.cache.ttl_default, Duration::from_secs(60));
    assert_eq!(
        source(api, "cache.enabled"),
        "sites[0].routes[0].cache (aegis.yaml:24)"
    );
    assert_eq!(
        site.routes[1].action,
        Action::Redirect {
            status: 302,
            to: "https://{host}{path}".to_owned()
        }
    );
}

#[test]
fn an_origin_url_becomes_a_pool_of_that_name() {
    let validated = good(LAYERS);
    let pool = &validated.pools["https://api.internal:443"];
    assert_eq!(pool.servers, ["api.internal:443"]);
    assert!(
        pool.tls
            .as_ref()
            .is_some_and(|tls| tls.verify && tls.name.is_none())
    );
    assert_eq!(
        (pool.connect_timeout, pool.retries),
        (Duration::from_secs(3), 1)
    );
    assert!(validated.pools["app"].tls.is_none());
    assert_eq!(validated.settings.pools["app"].name, "app");
}

#[test]
fn a_route_that_takes_everything_stands_for_an_origin() {
    let validated = good(
        "version: 1\nlisteners: [{ address: \"127.0.0.1:0\" }]\nsites:\n  - hosts: [a]\n    routes:\n\
        \x20     - { match: { path: /x }, respond: { status: 404 } }\n\
        \x20     - { match: { path: /* }, redirect: { to: https://b } }\n",
    );
    let routes = &validated.sites[0].routes;
    assert_eq!(routes.len(), 2);
    assert_eq!(routes[1].path, "/*");
}

#[test]
fn a_profile_that_leaves_the_waf_off_is_warned_of() {
    let text = LAYERS
        .replace(
            "waf:\n      profile: strict\n      paranoia: 2",
            "waf: off\n    plugins: []",
        )
        .replace("waf: { mode: detect, exclude_rules: [] }", "waf: strict");
    let loaded = parse(&text);
    assert_eq!(
        messages(&loaded.problems),
        ["sites[0].routes[0].waf names profile `strict`, but the WAF stays off"]
    );
    let on = text.replace("paranoia: 3", "mode: block");
    assert!(parse(&on).problems.is_empty());
}

#[test]
fn defaults_that_depend_on_others_are_worked_out() {
    let validated = good(&super::minimal("node: { state_dir: /var/aegis }"));
    assert_eq!(
        validated.settings.node.admin.socket.display().to_string(),
        "/var/aegis/admin.sock"
    );
    let validated = good(&super::minimal("node: { state_dir: state }"));
    assert_eq!(
        validated.settings.node.state_dir.display().to_string(),
        "/nowhere/state"
    );
    assert!(
        good(&super::minimal(""))
            .settings
            .node
            .state_dir
            .is_absolute()
    );
}

#[test]
fn only_keys_that_need_a_restart_are_named() {
    let old = good(&super::minimal(""));
    let new = |rest: &str| good(&super::minimal(rest)).settings;
    let mut live = new(
        "node: { log: { level: debug }, shutdown: { grace: 1s }, tls: { ticket_rotation: 1s } }\npools: { a: { servers: [\"a:1\"] } }",
    );
    live.listeners.clear();
    assert!(crate::restart_diff(&old.settings, &live).is_empty());
    let restart = new("node: { workers: 2, client: { idle_timeout: 1s } }");
    let named = crate::restart_diff(&old.settings, &restart);
    assert_eq!(named, ["node.workers", "node.client.idle_timeout"]);
}
