use super::Table;
use crate::PoolSet;
use aegis_settings::model::{Inspect, OnError};
use aegis_settings::resolved::{
    Action, BodyMode, Cache, Compressed, Limits, OverLimit, Route, Site, Waf, WafMode,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn route(path: &str, methods: &[&str]) -> Arc<Route> {
    Arc::new(Route {
        key: path.to_owned(),
        path: path.to_owned(),
        methods: methods.iter().map(|&m| m.to_owned()).collect(),
        allowed: Vec::new(),
        action: Action::Respond {
            status: 200,
            content_type: "text/plain".to_owned(),
            body: String::new(),
        },
        waf: Waf {
            mode: WafMode::Off,
            paranoia: 1,
            inbound_threshold: 5,
            outbound_threshold: 4,
            exclude_rules: vec![],
            exclude_targets: vec![],
            seclang_before: vec![],
            seclang: vec![],
            inspect_response: Inspect::Off,
            measure_every: 0,
            text_max: 0,
            held_max: 0,
            body_mode: BodyMode::Hold,
            over_limit: OverLimit::Reject,
            compressed: Compressed::Reject,
            decompress_ratio_max: 1,
            response_max: 0,
            on_error: OnError::Deny,
        },
        cache: Cache {
            enabled: false,
            object_max: 0,
            ttl_default: Duration::ZERO,
            status_header: false,
        },
        limits: Limits {
            headers: true,
            policies: BTreeMap::new(),
        },
        plugins: vec![],
        sources: BTreeMap::new(),
    })
}

fn table(sites: &[(&[&str], Vec<Arc<Route>>)]) -> Table {
    let site = |(index, (hosts, routes)): (usize, &(&[&str], Vec<Arc<Route>>))| {
        let hosts: Vec<String> = hosts.iter().map(|&h| h.to_owned()).collect();
        let name = hosts.first().cloned().unwrap_or_default();
        Arc::new(Site {
            index,
            name,
            hosts,
            connections_max: None,
            tls: Default::default(),
            routes: routes.clone(),
        })
    };
    let sites: Vec<_> = sites.iter().enumerate().map(site).collect();
    Table::build(&sites, &PoolSet::default()).expect("no pool is named")
}

fn site<'a>(table: &'a Table, host: &str) -> Option<&'a str> {
    table.find(host).map(|entry| entry.site.name.as_str())
}

#[test]
fn exact_host_beats_wildcard_beats_star() {
    let any = vec![route("/*", &[])];
    let table = table(&[
        (&["*"], any.clone()),
        (&["*.example.com"], any.clone()),
        (&["shop.example.com"], any),
    ]);
    assert_eq!(site(&table, "shop.example.com"), Some("shop.example.com"));
    assert_eq!(
        site(&table, "SHOP.example.com.:443"),
        Some("shop.example.com")
    );
    assert_eq!(site(&table, "blog.example.com"), Some("*.example.com"));
    assert_eq!(
        site(&table, "a.b.example.com"),
        Some("*"),
        "a wildcard covers one label"
    );
    assert_eq!(site(&table, "example.com"), Some("*"));
    assert_eq!(site(&table, "not a host"), None);
}

#[test]
fn without_a_star_an_unknown_host_has_no_site() {
    let table = table(&[(&["shop.example.com"], vec![route("/*", &[])])]);
    assert_eq!(site(&table, "other.example.com"), None);
    assert!(table.find_without_host().is_none());
}

#[test]
fn routes_are_tried_in_order_of_the_file() {
    let routes = vec![
        route("/api/v1", &[]),
        route("/api/*", &["GET"]),
        route("/api/*", &["POST"]),
        route("/*", &[]),
    ];
    let table = table(&[(&["*"], routes)]);
    let site = table.find("x").expect("star");
    for (path, method, index) in [
        ("/api/v1", "DELETE", 0),
        ("/api/v1/", "GET", 1),
        ("/api/x", "POST", 2),
        ("/api/x", "DELETE", 3),
        ("/api", "GET", 3),
        ("/", "GET", 3),
        ("*", "OPTIONS", 3),
    ] {
        assert_eq!(
            site.route(path, method).map(|r| r.index),
            Some(index),
            "{method} {path}"
        );
    }
}

#[test]
fn a_path_with_two_readings_has_a_route_only_if_both_agree() {
    let table = table(&[(&["*"], vec![route("/public/*", &[]), route("/*", &[])])]);
    let site = table.find("x").expect("star");
    assert!(site.route("/public/..%2fadmin", "GET").is_none());
    assert!(site.route("/public/../admin", "GET").is_none());
    assert!(site.route("/admin/..%2fpublic/x", "GET").is_none());
    // Raw and wholly resolved both lie under /public; an origin that stops in between does not.
    for between in [
        "/public/../admin/%2e%2e/public/x",
        "/public/%2e%2e/admin/%252e%252e/public/x",
        "/public/..;/admin",
    ] {
        assert!(site.route(between, "GET").is_none(), "{between}");
    }
    assert_eq!(
        site.route("/public/a/../b", "GET").map(|r| r.index),
        Some(0)
    );
    assert_eq!(
        site.route("/public/caf%C3%A9", "GET").map(|r| r.index),
        Some(0)
    );
    assert_eq!(site.route("/x//y", "GET").map(|r| r.index), Some(1));
}
