//! `aegis status`: how the running node is, on one screen.

use super::client;
use crate::admin_client::Answer;
use crate::cli::{Asking, Output};
use crate::terminal::{self, line, tame};
use anyhow::bail;
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn run(args: &Asking) -> anyhow::Result<ExitCode> {
    let status = match client(args)?.ask("/status")? {
        Answer::Found(status) => status,
        Answer::NotFound(why) | Answer::Refused(why) => bail!("{why}"),
    };
    match args.output {
        Output::Json => terminal::answer(&format!("{status:#}\n"))?,
        Output::Text => terminal::answer(&text(&status))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn str_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("-")
}

fn u64_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Two units at most: `12 d 4 h`, `3 min 5 s`.
pub(super) fn span(seconds: u64) -> String {
    let (d, h, m, s) = (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, m) => format!("{m} min {s} s"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

fn text(status: &Value) -> String {
    let mut out = String::new();
    head(status, &mut out);
    traffic(&status["node"], &mut out);
    plugins(&status["node"], &mut out);
    organs(&status["node"], &mut out);
    out
}

fn head(status: &Value, out: &mut String) {
    let config = &status["config"];
    let mut id = tame(str_at(config, "/live/id"));
    id.truncate(8);
    let from = match str_at(config, "/live/from") {
        "last-known-good" => ", LAST KNOWN GOOD: the file is refused",
        "command-line" => ", from the command line",
        _ => "",
    };
    line!(
        out,
        "aegis {}   {}, up {}   config {id}{from}",
        str_at(status, "/version"),
        str_at(status, "/state"),
        span(u64_at(status, "/uptime_seconds")),
    );
    if str_at(config, "/last_try/result") == "rejected" {
        line!(out, "rejected at {}:", str_at(config, "/last_try/at"));
        for problem in list(config, "/last_try/problems")
            .iter()
            .filter_map(Value::as_str)
        {
            line!(out, "  {}", tame(problem));
        }
    }
    if config["preparing"].is_object() {
        line!(
            out,
            "preparing {} for {}: {}",
            tame(str_at(config, "/preparing/id")),
            span(u64_at(config, "/preparing/seconds")),
            tame(str_at(config, "/preparing/progress")),
        );
    }
}

fn traffic(node: &Value, out: &mut String) {
    let n = |pointer: &str| u64_at(node, pointer);
    let all = n("/requests/total");
    let ms = |pointer: &str| match node.pointer(pointer).and_then(Value::as_f64) {
        Some(seconds) => format!("{} ms", seconds * 1000.0),
        None => "-".to_owned(),
    };
    line!(
        out,
        "requests  {all}   5xx {}   p50 \u{2264} {}  p99 \u{2264} {}   open connections {}",
        percent(n("/requests/5xx"), all),
        ms("/requests/p50_seconds"),
        ms("/requests/p99_seconds"),
        n("/connections"),
    );
    line!(
        out,
        "cache     hits {}   {} objects, {} MiB of {}",
        percent(n("/cache/hits"), n("/cache/requests")),
        n("/cache/objects"),
        n("/cache/bytes") >> 20,
        n("/cache/bytes_max") >> 20,
    );
    line!(
        out,
        "waf       clean {}   blocked {}   detected {}   limits {}   faults {}",
        n("/waf/clean"),
        n("/waf/block"),
        n("/waf/detect"),
        n("/waf/limit"),
        n("/waf/fault"),
    );
    line!(
        out,
        "bans      {} kept   refused {} requests, {} connections",
        n("/verdicts/entries"),
        n("/verdicts/requests_refused"),
        n("/verdicts/connections_refused"),
    );
    match n("/limits/entries") {
        0 => line!(out, "limits    none"),
        entries => line!(
            out,
            "limits    refused {}   on dry runs {}   {} of {entries} counts in use, {} forgotten too soon",
            n("/limits/refused"),
            n("/limits/would_refuse"),
            n("/limits/used"),
            n("/limits/evicted"),
        ),
    }
}

/// Plugins: those that are not ready, and those whose instances are no copies though they should be, by name.
fn plugins(node: &Value, out: &mut String) {
    let all = list(node, "/plugins");
    if all.is_empty() {
        return;
    }
    let ready = all.iter().filter(|plugin| plugin["state"] == "ready");
    let image: u64 = all.iter().filter_map(|p| p["image_mib"].as_u64()).sum();
    line!(
        out,
        "plugins   {}/{} ready, snapshots of {image} MiB",
        ready.count(),
        all.len()
    );
    for plugin in all {
        let name = tame(str_at(plugin, "/plugin"));
        match str_at(plugin, "/state") {
            "preparing" => line!(
                out,
                "          {name}: {} for {}",
                tame(str_at(plugin, "/stage")),
                span(u64_at(plugin, "/seconds")),
            ),
            "failed" => line!(
                out,
                "          {name}: failed at {}: {}",
                str_at(plugin, "/at"),
                tame(str_at(plugin, "/reason")),
            ),
            _ if plugin["no_snapshot"].is_string() => line!(
                out,
                "          {name}: no snapshot, each instance is configured by itself: {}",
                tame(str_at(plugin, "/no_snapshot")),
            ),
            _ => {}
        }
    }
}

fn organs(node: &Value, out: &mut String) {
    let servers: Vec<&Value> = list(node, "/pools")
        .iter()
        .flat_map(|pool| list(pool, "/servers"))
        .collect();
    let up = servers.iter().filter(|server| server["up"] == true).count();
    line!(out, "origins   {up}/{} healthy", servers.len());
    for pool in list(node, "/pools") {
        for server in list(pool, "/servers")
            .iter()
            .filter(|server| server["up"] != true)
        {
            let name = |value: &Value, key: &str| tame(value[key].as_str().unwrap_or("-"));
            line!(
                out,
                "          down: {} of pool {}",
                name(server, "server"),
                name(pool, "name")
            );
        }
    }
    let certificates = list(node, "/certificates");
    if let Some(first) = certificates
        .iter()
        .filter_map(|c| c["days_left"].as_i64())
        .min()
    {
        line!(
            out,
            "tls       {} certificates, the first ends in {first} d",
            certificates.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_screen_says_what_matters() {
        let status = json!({
            "version": "0.1.0", "state": "ready", "uptime_seconds": 1_051_200,
            "config": {
                "live": { "id": "a3f90000deadbeef", "from": "last-known-good" },
                "last_try": { "result": "rejected", "at": "2026-11-20T18:04:11Z", "problems": ["sites[0]: \u{1b}bad"] },
                "preparing": null,
            },
            "node": {
                "requests": { "total": 200, "5xx": 1, "p50_seconds": 0.0025, "p99_seconds": 0.05 },
                "connections": 3,
                "cache": { "hits": 90, "requests": 100, "objects": 7, "bytes": 3_145_728, "bytes_max": 268_435_456 },
                "waf": { "clean": 190, "block": 4 },
                "plugins": [
                    { "plugin": "waf", "id": "8f14e45f", "state": "ready", "image_mib": 39, "made": "cached" },
                    { "plugin": "bots", "id": "1c1d", "state": "ready", "no_snapshot": "unsupported `table.set`" },
                    { "plugin": "waf", "id": "", "state": "preparing", "stage": "compiling", "seconds": 4 },
                    { "plugin": "old", "id": "", "state": "failed", "at": "2026-11-20T18:04:11Z", "reason": "own.conf:2: bad" },
                ],
                "pools": [{ "name": "api", "servers": [{ "server": "a:1", "up": true }, { "server": "b:1", "up": false }] }],
                "certificates": [{ "days_left": 29 }, { "days_left": 80 }],
            },
        });
        let text = text(&status);
        for part in [
            "aegis 0.1.0   ready, up 12 d 4 h   config a3f90000, LAST KNOWN GOOD",
            "  sites[0]: \\u{1b}bad",
            "5xx 0.5 %   p50 \u{2264} 2.5 ms  p99 \u{2264} 50 ms",
            "hits 90.0 %   7 objects, 3 MiB of 256",
            "blocked 4",
            "plugins   2/4 ready, snapshots of 39 MiB",
            "bots: no snapshot, each instance is configured by itself: unsupported",
            "waf: compiling for 4 s",
            "old: failed at 2026-11-20T18:04:11Z: own.conf:2: bad",
            "origins   1/2 healthy",
            "down: b:1 of pool api",
            "2 certificates, the first ends in 29 d",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (5, "5 s"),
            (185, "3 min 5 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
