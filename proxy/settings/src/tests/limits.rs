//! Limits: laid over each other limit by limit, and what is said about those that hold together.

use super::{messages, minimal, parse};
use crate::model::LimitKey;
use crate::render;
use crate::resolved::{Route, Validated};
use std::time::Duration;

const LAYERS: &str = "\
version: 1
listeners: [{ address: \"127.0.0.1:0\" }]
profiles:
  limits:
    fair:
      policies:
        client: { limit: 100, window: 10s, burst: 50 }
        scan: { of: errors, limit: 20, window: 1m, statuses: [404, 5xx] }
    api:
      policies:
        client: { limit: 7, window: 1s, key: [\"header:X-Api-Key\", path] }
sites:
  - hosts: [a]
    origin: http://127.0.0.1:1
    limits: fair
    routes:
      - match: { path: /login }
        limits:
          headers: false
          policies:
            login: { of: in_flight, limit: 2 }
            scan: off
      - match: { path: /api/* }
        limits: { profile: api, policies: { bytes: { of: bytes, limit: 1MiB, window: 1h, dry_run: true } } }
      - match: { path: /free }
        limits: off
      - match: { path: /old }
        redirect: { to: /new }
";

fn good(text: &str) -> Validated {
    let loaded = parse(text);
    assert!(
        loaded.problems.is_empty(),
        "{}",
        render(&loaded.problems, false)
    );
    loaded.result.expect("good")
}

fn sentences(route: &Route) -> Vec<String> {
    let policies = route.limits.policies.values();
    policies
        .map(|policy| format!("{}: {}", policy.name, policy.sentence()))
        .collect()
}

#[test]
fn a_route_adds_to_replaces_and_takes_away_what_its_site_has() {
    let validated = good(LAYERS);
    let [login, api, free, old, own] = validated.sites[0].routes.as_slice() else {
        panic!("five routes");
    };
    let client = "client: 100 requests in 10s by address, burst 50";
    let scan = "scan: 20 errors in 1m by address";
    assert_eq!(sentences(own), [client, scan]);
    assert_eq!(sentences(old), [client, scan], "a redirect is limited too");
    assert_eq!(
        sentences(login),
        [client, "login: 2 requests in flight by address"]
    );
    assert!(!login.limits.headers && own.limits.headers);
    assert_eq!(
        sentences(api),
        [
            "bytes: 1MiB sent in 1h by address, dry run",
            "client: 7 requests in 1s by header:x-api-key and path",
            scan
        ]
    );
    assert!(free.limits.policies.is_empty());

    let source = |route: &Route, key: &str| route.sources.get(key).cloned();
    assert_eq!(
        source(own, "limits.policies.client").as_deref(),
        Some("profiles.limits.fair (aegis.yaml:7)")
    );
    assert_eq!(
        source(api, "limits.policies.client").as_deref(),
        Some("profiles.limits.api (aegis.yaml:11)")
    );
    assert_eq!(
        source(login, "limits.policies.login").as_deref(),
        Some("sites[0].routes[0].limits (aegis.yaml:21)")
    );
    assert_eq!(source(login, "limits.policies.scan"), None);
    assert_eq!(
        source(free, "limits.policies").as_deref(),
        Some("sites[0].routes[2].limits (aegis.yaml:26)")
    );
    assert_eq!(source(own, "limits.headers").as_deref(), Some("default"));
}

#[test]
fn what_is_not_written_has_its_default() {
    let validated = good(LAYERS);
    let policies = &validated.sites[0].routes[4].limits.policies;
    let (client, scan) = (&policies["client"], &policies["scan"]);
    assert_eq!(client.key, [LimitKey::Address]);
    assert_eq!(client.statuses, [400..=499]);
    assert_eq!((client.v4_prefix, client.v6_prefix), (32, 64));
    assert_eq!(client.penalty, Duration::ZERO);
    assert!(!client.dry_run && !client.count_refused);
    assert_eq!(scan.statuses, [404..=404, 500..=599]);
}

#[test]
fn a_slip_in_the_name_of_what_is_taken_away_is_found() {
    let text = LAYERS.replace("scan: off", "scn: off");
    let problems = parse(&text).problems;
    assert_eq!(
        messages(&problems),
        ["sites[0].routes[0].limits.policies.scn: no limit of this name is inherited"]
    );
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `scan`?"));
}

#[test]
fn eight_limits_may_hold_for_a_request_and_not_nine() {
    let with = |count: usize| {
        let policies: String = (0..count)
            .map(|n| format!("p{n}: {{ limit: 1, window: 1s }}, "))
            .collect();
        let text = minimal(&format!(
            "    limits: {{ policies: {{ {policies} }} }}\n    routes: [{{ match: {{ path: /x }}, limits: {{ policies: {{ more: {{ limit: 1, window: 1s }} }} }} }}]"
        ));
        messages(&parse(&text).problems).join("\n")
    };
    assert_eq!(with(7), "");
    assert_eq!(
        with(8),
        "sites[0].routes[0].limits: 9 limits hold here; 8 is the most"
    );
}

#[test]
fn limits_that_never_act_are_warned_of() {
    let waf = "{ of: waf_ms, limit: 50, window: 1s }";
    let limited = |rest: &str| {
        let text = minimal(&format!(
            "    waf: off\n    limits: {{ policies: {{ cpu: {waf}, tls: {{ limit: 1, window: 1s, key: [ja4] }} }} }}\n{rest}"
        ));
        let loaded = parse(&text);
        assert!(loaded.result.is_ok());
        messages(&loaded.problems).join("\n")
    };
    let ja4 =
        "sites[0].limits.policies.tls.key[0]: no listener speaks TLS, so there is no fingerprint";
    assert_eq!(
        limited(""),
        format!(
            "sites[0].limits.policies.cpu: the WAF runs nowhere this limit holds, so it never counts anything\n{ja4}"
        )
    );
    assert_eq!(
        limited("    routes: [{ match: { path: /x }, waf: { mode: detect } }]"),
        ja4
    );
}
