//! What would happen to a request for a URL, from the settings alone: site, route, what each part does, and where each
//! value came from.

use aegis_origin::{PoolSet, Table};
use aegis_settings::model::{Inspect, OnError, Pool};
use aegis_settings::resolved::{
    Action, BodyMode, Compressed, OverLimit, Route, Validated, WafMode,
};
use serde_json::{Map, Value, json};

/// Explains one URL over a table of sites.
///
/// # Errors
/// A sentence: it is no URL, no site answers for it, or nobody can say which route it takes.
pub(crate) fn explain(
    validated: &Validated,
    table: &Table,
    url: &str,
    method: &str,
) -> Result<Value, String> {
    let uri: http::Uri = url
        .parse()
        .map_err(|error| format!("{url} is no URL: {error}"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{url} is no whole URL; write https://host/path"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("{scheme}: is not served here, only http and https"));
    }
    let Some(site) = table.find(authority.as_str()) else {
        let hosts: Vec<_> = table
            .sites()
            .iter()
            .flat_map(|entry| &entry.site.hosts)
            .take(12)
            .cloned()
            .collect();
        return Err(format!(
            "no site answers for {}; hosts here: {}",
            authority.host(),
            hosts.join(", ")
        ));
    };
    let Some(entry) = site.route(uri.path(), method) else {
        return Err(format!(
            "{} can be read in two ways that lead to different routes, so it is refused with 400",
            uri.path()
        ));
    };
    let route = &entry.route;
    let port = authority
        .port_u16()
        .unwrap_or(if scheme == "https" { 443 } else { 80 });
    let target = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let method_cached = matches!(method, "GET" | "HEAD");
    let cache_key =
        (route.cache.enabled && method_cached && matches!(route.action, Action::Proxy { .. }))
            .then(|| {
                format!(
                    "{scheme}://{}:{port}{target}",
                    authority.host().to_ascii_lowercase()
                )
            });
    Ok(json!({
        "url": url,
        "method": method,
        "config": validated.id,
        "site": { "name": site.site.name, "key": format!("sites[{}]", site.site.index), "hosts": site.site.hosts },
        "route": { "key": route.key, "path": route.path, "methods": route.methods },
        "action": action(&route.action, validated),
        "plugins": route.plugins,
        "limits": limits(route),
        "cache_key": cache_key,
        "values": values(route),
    }))
}

/// Explains from a file, without a node: nothing is connected to and no name is looked up.
///
/// # Errors
/// As [`explain`], and what building the table finds wrong.
pub(crate) fn offline(validated: &Validated, url: &str, method: &str) -> Result<Value, String> {
    // The pools' look-ups and health checks are queued on a runtime that is never driven.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let pools = PoolSet::build(&validated.pools, None, runtime.handle())
        .map_err(|error| error.to_string())?;
    let table = Table::build(&validated.sites, &pools).map_err(|error| error.to_string())?;
    explain(validated, &table, url, method)
}

fn action(action: &Action, validated: &Validated) -> Value {
    match action {
        Action::Proxy { pool } => {
            let known = validated.pools.get(pool).map(|pool| pool_facts(pool));
            json!({ "kind": "proxy", "pool": pool, "origin": known })
        }
        Action::Redirect { status, to } => {
            json!({ "kind": "redirect", "status": status, "to": to })
        }
        Action::Respond {
            status,
            content_type,
            body,
        } => {
            json!({ "kind": "respond", "status": status, "content_type": content_type, "bytes": body.len() })
        }
    }
}

fn pool_facts(pool: &Pool) -> Value {
    json!({
        "servers": pool.servers,
        "tls": pool.tls.is_some(),
        "health": pool.health.as_ref().map(|health| &health.path),
        "connect_timeout_ms": pool.connect_timeout.as_millis(),
        "read_timeout_ms": pool.read_timeout.as_millis(),
        "retries": pool.retries,
    })
}

/// What holds for a request, one sentence each.
fn limits(route: &Route) -> Vec<String> {
    let policies = route.limits.policies.values();
    policies
        .map(|policy| format!("{}: {}", policy.name, policy.sentence()))
        .collect()
}

/// Every value of the route with its source.
fn values(route: &Route) -> Value {
    let waf = &route.waf;
    let cache = &route.cache;
    let mut out = Map::new();
    let methods = if route.allowed.is_empty() {
        json!("all registered but CONNECT and TRACE")
    } else {
        json!(route.allowed)
    };
    let mut say = |key: &str, value: Value| {
        let source = route.sources.get(key).map_or("default", String::as_str);
        out.insert(key.to_owned(), json!({ "value": value, "from": source }));
    };
    say("methods", methods);
    say("waf.mode", json!(mode(waf.mode)));
    if waf.mode != WafMode::Off {
        say("waf.paranoia", json!(waf.paranoia));
        say("waf.inbound_threshold", json!(waf.inbound_threshold));
        say("waf.outbound_threshold", json!(waf.outbound_threshold));
        say("waf.exclude_rules", json!(waf.exclude_rules));
        let targets: Vec<_> = waf
            .exclude_targets
            .iter()
            .map(|t| format!("{}:{}", t.rule, t.target))
            .collect();
        say("waf.exclude_targets", json!(targets));
        say("waf.seclang_before", json!(waf.seclang_before));
        say("waf.seclang", json!(waf.seclang));
        say("waf.inspect_response", json!(inspect(waf.inspect_response)));
        say("waf.measure_every", json!(waf.measure_every));
        say("waf.text_max", json!(waf.text_max));
        say("waf.held_max", json!(waf.held_max));
        say("waf.over_limit", json!(over_limit(waf.over_limit)));
        say("waf.compressed", json!(compressed(waf.compressed)));
        say("waf.decompress_ratio_max", json!(waf.decompress_ratio_max));
        say("waf.response_max", json!(waf.response_max));
        say("waf.on_error", json!(on_error(waf.on_error)));
    }
    if waf.mode != WafMode::Off || !route.plugins.is_empty() {
        say("waf.body_mode", json!(body_mode(waf.body_mode)));
    }
    say("cache.enabled", json!(cache.enabled));
    if cache.enabled {
        say("cache.object_max", json!(cache.object_max));
        say(
            "cache.ttl_default",
            json!(format!("{}s", cache.ttl_default.as_secs_f64())),
        );
        say("cache.status_header", json!(cache.status_header));
    }
    for policy in route.limits.policies.values() {
        let key = format!("limits.policies.{}", policy.name);
        say(&key, json!(policy.sentence()));
    }
    if route.limits.policies.is_empty() {
        say("limits.policies", json!([]));
    } else {
        say("limits.headers", json!(route.limits.headers));
    }
    Value::Object(out)
}

/// The word of the settings.
pub(crate) const fn mode(mode: WafMode) -> &'static str {
    match mode {
        WafMode::Block => "block",
        WafMode::Detect => "detect",
        WafMode::Off => "off",
    }
}

const fn inspect(inspect: Inspect) -> &'static str {
    match inspect {
        Inspect::Off => "off",
        Inspect::Headers => "headers",
        Inspect::Body => "body",
    }
}

const fn body_mode(mode: BodyMode) -> &'static str {
    match mode {
        BodyMode::Hold => "hold",
        BodyMode::Spool => "spool",
    }
}

const fn over_limit(over: OverLimit) -> &'static str {
    match over {
        OverLimit::Reject => "reject",
        OverLimit::Stream => "stream",
    }
}

const fn compressed(compressed: Compressed) -> &'static str {
    match compressed {
        Compressed::Reject => "reject",
        Compressed::Decompress => "decompress",
    }
}

const fn on_error(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Allow => "allow",
        OnError::Deny => "deny",
    }
}
