//! What a person sees at the start: where it listens, what is on, what is off and the key that turns it on.

use crate::terminal::line;
use crate::{explain, terminal};
use aegis_control::{Boot, From, Servers};
use aegis_front::Bound;
use aegis_settings::model::{Listener, Settings};
use aegis_settings::resolved::{LimitPolicy, Route, Validated, WafMode};
use aegis_settings::show_size;
use std::net::SocketAddr;
use std::sync::Arc;

/// Prints it on standard error.
pub(crate) fn print(boot: &Boot, door: &Bound, servers: &Servers) {
    let addresses = door.addresses();
    let metrics = servers.metrics_address();
    terminal::say(&text(
        boot.validated(),
        boot.from,
        &addresses,
        door.connections_max(),
        metrics,
    ));
    if boot.from == From::LastGood {
        let problems: String = boot
            .problems
            .iter()
            .map(ToString::to_string)
            .chain(boot.passed_over.iter().cloned())
            .map(|problem| format!("  {problem}\n"))
            .collect();
        terminal::say(&format!(
            "\nWARNING: these are the LAST KNOWN GOOD settings. The file cannot be used; mend it and it goes live:\n{problems}\n"
        ));
    }
}

fn text(
    validated: &Validated,
    from: From,
    addresses: &[SocketAddr],
    connections_max: usize,
    metrics: Option<SocketAddr>,
) -> String {
    let settings = &validated.settings;
    let mut out = String::new();
    let id = validated.id.get(..8).unwrap_or(&validated.id);
    let sites = validated.sites.len();
    let from = match from {
        From::File => "",
        From::LastGood => ", last known good",
        From::Flags => ", from the command line",
    };
    line!(
        out,
        "aegis {}  (config {id}\u{2026}, {sites} site{}{from})",
        env!("CARGO_PKG_VERSION"),
        if sites == 1 { "" } else { "s" }
    );
    for (index, (listener, address)) in settings.listeners.iter().zip(addresses).enumerate() {
        let word = if index == 0 { "listen" } else { "" };
        line!(out, "  {word:8} {}", listen(listener, *address, settings));
    }
    line!(out, "  {:8} {}", "waf", waf(validated));
    line!(
        out,
        "  {:8} memory {}",
        "cache",
        show_size(settings.node.cache.memory)
    );
    if let Some(limits) = limits(validated) {
        line!(out, "  {:8} {limits}", "limits");
    }
    line!(out, "  {:8} {}", "off", off(validated));
    let wanted = settings.node.client.connections_max;
    if connections_max < wanted {
        line!(
            out,
            "  {:8} {connections_max} connections, not {wanted}: too few files may be open (LimitNOFILE=, ulimit -Hn)",
            "limit"
        );
    }
    line!(
        out,
        "  {:8} unix:{}",
        "admin",
        settings.node.admin.socket.display()
    );
    if let Some(metrics) = metrics {
        line!(out, "  {:8} http://{metrics}/metrics", "metrics");
    }
    out
}

fn listen(listener: &Listener, address: SocketAddr, settings: &Settings) -> String {
    let Some(tls) = &listener.tls else {
        return format!("http://{address}");
    };
    let protocols = if tls.http2 { "h2 http/1.1" } else { "http/1.1" };
    let certificates = match settings.certificates.len() {
        0 => format!(
            "self-signed (kept in {})",
            settings.node.state_dir.join("self-signed").display()
        ),
        1 => "1 certificate".to_owned(),
        n => format!("{n} certificates"),
    };
    format!("https://{address}  {protocols}   X25519MLKEM768   {certificates}")
}

fn waf(validated: &Validated) -> String {
    let wafs = || {
        validated
            .sites
            .iter()
            .flat_map(|site| &site.routes)
            .map(|route| &route.waf)
    };
    let on = |mode| wafs().filter(|waf| waf.mode == mode).count();
    let mut parts = Vec::new();
    for mode in [WafMode::Block, WafMode::Detect, WafMode::Off] {
        let routes = on(mode);
        if routes > 0 {
            parts.push(if routes == wafs().count() {
                explain::mode(mode).to_owned()
            } else {
                format!(
                    "{} on {routes} route{}",
                    explain::mode(mode),
                    if routes == 1 { "" } else { "s" }
                )
            });
        }
    }
    let mut paranoia: Vec<_> = wafs()
        .filter(|waf| waf.mode != WafMode::Off)
        .map(|waf| waf.paranoia)
        .collect();
    paranoia.sort_unstable();
    paranoia.dedup();
    if !paranoia.is_empty() {
        let levels: Vec<_> = paranoia.iter().map(ToString::to_string).collect();
        parts.push(format!("CRS paranoia {}", levels.join(", ")));
    }
    parts.join(", ")
}

/// The limits that hold: in words when they are the same everywhere, else on how many routes there are some.
fn limits(validated: &Validated) -> Option<String> {
    let routes: Vec<_> = validated
        .sites
        .iter()
        .flat_map(|site| &site.routes)
        .collect();
    let first = routes.first()?;
    let alike = |route: &&Arc<Route>| route.limits.policies == first.limits.policies;
    let limited = routes
        .iter()
        .filter(|route| !route.limits.policies.is_empty())
        .count();
    if limited == 0 {
        return None;
    }
    if routes.iter().all(alike) {
        let policies = first.limits.policies.values();
        let sentences: Vec<_> = policies.map(LimitPolicy::sentence).collect();
        return Some(sentences.join("; "));
    }
    Some(format!("on {limited} of {} routes", routes.len()))
}

/// What is not at work, and the key that changes that.
fn off(validated: &Validated) -> String {
    let settings = &validated.settings;
    let routes = || validated.sites.iter().flat_map(|site| &site.routes);
    let mut parts = Vec::new();
    if !settings
        .listeners
        .iter()
        .any(|listener| listener.tls.is_some())
    {
        parts.push("tls (listeners[].tls)");
    }
    if !routes().any(|route| route.waf.mode != WafMode::Off) {
        parts.push("waf (sites[].waf.mode)");
    }
    if !routes().any(|route| route.cache.enabled) {
        parts.push("cache (sites[].cache)");
    }
    if limits(validated).is_none() {
        parts.push("limits (sites[].limits)");
    }
    if settings.plugins.is_empty() {
        parts.push("plugins (plugins)");
    }
    if settings.node.verdicts.rules.is_empty() {
        parts.push("bans by rule (node.verdicts.rules)");
    }
    if !validated.pools.values().any(|pool| pool.health.is_some()) {
        parts.push("health checks (pools.*.health)");
    }
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join("  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_settings::{Flags, from_flags};

    #[test]
    fn the_banner_names_addresses_and_what_is_off() {
        let flags = Flags {
            origins: vec!["http://127.0.0.1:3000".into()],
            waf: Some("off".into()),
            state_dir: Some("/srv/state".into()),
            ..Flags::default()
        };
        let validated = from_flags(&flags).expect("good flags");
        let addresses = validated
            .settings
            .listeners
            .iter()
            .map(|l| l.address)
            .collect::<Vec<_>>();
        let text = text(&validated, From::Flags, &addresses, 9_872, None);
        for part in [
            "1 site, from the command line)",
            "http://[::]:8080",
            "https://[::]:8443  h2 http/1.1   X25519MLKEM768   self-signed (kept in /srv/state/self-signed)",
            "waf      off",
            "limits   10000 requests in 10s by address, burst 10000",
            "off      waf (sites[].waf.mode)  plugins (plugins)  bans by rule (node.verdicts.rules)  health checks (pools.*.health)",
            "limit    9872 connections, not 20000: too few files may be open",
            "admin    unix:/srv/state/admin.sock",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
