//! `aegis explain`: what happens to a URL and why, or why a request was stopped.

use super::client;
use super::waf::Exclusion;
use crate::admin_client::Answer;
use crate::cli::{EX_CONFIG, EX_USAGE, Explain, Output};
use crate::explain;
use crate::terminal::{self, line, tame};
use aegis_telemetry::ring::Entry;
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    if args.what.contains("://") {
        url(args)
    } else if args.what.len() == 26 && args.what.bytes().all(|b| b.is_ascii_alphanumeric()) {
        request(args)
    } else {
        terminal::error(&format!(
            "{} is neither a URL (https://host/path) nor a request id (26 letters and digits)",
            tame(&args.what)
        ));
        Ok(ExitCode::from(EX_USAGE))
    }
}

fn url(args: &Explain) -> anyhow::Result<ExitCode> {
    let found = match &args.asking.config {
        Some(file) if args.asking.socket.is_none() && args.asking.state_dir.is_none() => {
            let loaded = aegis_settings::load(file);
            let Ok(validated) = &loaded.result else {
                terminal::say(&aegis_settings::render(
                    &loaded.problems,
                    terminal::stderr_coloured(),
                ));
                return Ok(ExitCode::from(EX_CONFIG));
            };
            explain::offline(validated, &args.what, &args.method)
        }
        _ => {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("url", &args.what)
                .append_pair("method", &args.method)
                .finish();
            match client(&args.asking)?.ask(&format!("/explain?{query}"))? {
                Answer::Found(value) => Ok(value),
                Answer::NotFound(why) | Answer::Refused(why) => Err(why),
            }
        }
    };
    match found {
        Ok(value) => print(&value, args.asking.output, url_text),
        Err(why) => fail(&why),
    }
}

fn request(args: &Explain) -> anyhow::Result<ExitCode> {
    match client(&args.asking)?.ask(&format!("/events?request={}", args.what))? {
        Answer::Found(value) => print(&value, args.asking.output, request_text),
        Answer::NotFound(why) | Answer::Refused(why) => fail(&why),
    }
}

fn fail(why: &str) -> anyhow::Result<ExitCode> {
    terminal::error(&tame(why));
    Ok(ExitCode::FAILURE)
}

fn print(value: &Value, output: Output, text: fn(&Value) -> String) -> anyhow::Result<ExitCode> {
    let text = match output {
        Output::Json => format!("{value:#}\n"),
        Output::Text => text(value),
    };
    terminal::answer(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => tame(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn url_text(value: &Value) -> String {
    let mut out = String::new();
    line!(out, "{} {}", shown(&value["method"]), shown(&value["url"]));
    line!(
        out,
        "  site     {}  ({})",
        shown(&value["site"]["name"]),
        shown(&value["site"]["key"])
    );
    line!(
        out,
        "  route    {}  ({})",
        shown(&value["route"]["path"]),
        shown(&value["route"]["key"])
    );
    let action = &value["action"];
    match action["kind"].as_str() {
        Some("proxy") => {
            let scheme = if action["origin"]["tls"] == true {
                "https"
            } else {
                "http"
            };
            line!(
                out,
                "  origin   {}: {scheme} to {}",
                shown(&action["pool"]),
                shown(&action["origin"]["servers"])
            );
        }
        Some("redirect") => line!(
            out,
            "  answer   {} to {}",
            shown(&action["status"]),
            shown(&action["to"])
        ),
        _ => line!(
            out,
            "  answer   {}, {} bytes of {}",
            shown(&action["status"]),
            shown(&action["bytes"]),
            shown(&action["content_type"])
        ),
    }
    let waf = |key: &str| shown(&value["values"][format!("waf.{key}")]["value"]);
    match waf("mode").as_str() {
        "off" => line!(out, "  waf      off"),
        mode => line!(
            out,
            "  waf      {mode}, paranoia {}, at a score of {}",
            waf("paranoia"),
            waf("inbound_threshold")
        ),
    }
    let limits = value["limits"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, limit) in limits.iter().enumerate() {
        let word = if index == 0 { "limits" } else { "" };
        line!(out, "  {word:8} {}", shown(limit));
    }
    if limits.is_empty() {
        line!(out, "  limits   none");
    }
    line!(out, "  plugins  {}", shown(&value["plugins"]));
    match value["cache_key"].as_str() {
        Some(key) => line!(out, "  cached   under {}", tame(key)),
        None => line!(out, "  cached   no"),
    }
    let Some(values) = value["values"].as_object() else {
        return out;
    };
    let shown_values: Vec<_> = values
        .iter()
        .map(|(key, it)| (key, shown(&it["value"]), shown(&it["from"])))
        .collect();
    let width = |of: fn(&(&String, String, String)) -> usize| {
        shown_values.iter().map(of).max().unwrap_or(0).min(40)
    };
    let (key_width, value_width) = (
        width(|(key, _, _)| key.len()),
        width(|(_, value, _)| value.len()),
    );
    line!(out, "  values");
    for (key, value, from) in &shown_values {
        line!(out, "    {key:key_width$}  {value:value_width$}  {from}");
    }
    out
}

fn request_text(value: &Value) -> String {
    let Ok(e) = serde_json::from_value::<Entry>(value.clone()) else {
        return format!("{value:#}\n");
    };
    let mut out = String::new();
    let what = match (e.action.as_str(), e.status) {
        ("detect", _) | ("limit", 0) => "Let through (detect)".to_owned(),
        ("ban", status) => format!("{status} Banned"),
        ("block", 0) => "Cut".to_owned(),
        ("block", status) => format!("{status} Blocked"),
        (action, status) => format!("{status} Refused ({action})"),
    };
    let time = i64::try_from(e.time_ms / 1000)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok());
    let time = time
        .map(|t| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default();
    line!(
        out,
        "{}   {} {}://{}{}   {time}   from {}",
        tame(&what),
        tame(&e.method),
        tame(&e.scheme),
        tame(&e.host),
        tame(&e.target),
        tame(&e.client)
    );
    if e.action == "ban" {
        for rule in &e.rules {
            line!(
                out,
                "  why     {}   {} by {}",
                tame(&rule.message),
                tame(&rule.variable),
                tame(&rule.value)
            );
        }
        line!(out, "  request {}", tame(&e.request_id));
        line!(out, "  more    aegis why {}", tame(&e.client));
        return out;
    }
    if e.plugin == "limits" {
        limit_text(&e, &mut out);
        return out;
    }
    let because = !e.detail.is_empty();
    if because {
        line!(out, "  why     {}", tame(&e.detail));
    }
    for (index, rule) in e.rules.iter().enumerate() {
        let word = if index == 0 && !because { "why" } else { "" };
        line!(
            out,
            "  {word:7} {} {}   {} = \"{}\"   {}",
            rule.id,
            tame(&rule.message),
            tame(&rule.variable),
            tame(&rule.value),
            tame(&rule.severity)
        );
    }
    line!(out, "  request {}", tame(&e.request_id));
    if e.threshold > 0 {
        line!(out, "  score   {} of {}", e.score, e.threshold);
    }
    line!(out, "  site    {} ({})", tame(&e.site), tame(&e.route));
    if !e.mode.is_empty() {
        line!(
            out,
            "  plugin  {}, mode {}, {:.1} ms",
            tame(&e.plugin),
            tame(&e.mode),
            e.micros as f64 / 1000.0
        );
    }
    if let Ok(exclusion) = Exclusion::of(&e) {
        line!(out, "  let it through next time:  {}", exclusion.line());
        line!(
            out,
            "                             aegis waf exclude {}",
            tame(&e.request_id)
        );
    }
    out
}

/// Why a limit stopped a request.
fn limit_text(e: &Entry, out: &mut String) {
    for rule in &e.rules {
        line!(out, "  limit   {}", tame(&rule.message));
    }
    line!(out, "  request {}", tame(&e.request_id));
    line!(out, "  site    {} ({})", tame(&e.site), tame(&e.route));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_limit_is_explained_with_its_key() {
        let event = json!({
            "request_id": "01JD8Z3V6Q0000000000000000", "time_ms": 1_764_000_000_042_u64, "client": "203.0.113.9",
            "method": "POST", "scheme": "https", "host": "shop.example.com", "target": "/up", "status": 413,
            "site": "shop.example.com", "route": "sites[0]", "plugin": "", "mode": "", "action": "limit",
            "rules": [], "score": 0, "threshold": 0, "micros": 0,
            "detail": "the body has more than 1024 bytes, which is waf.held_max (from: default)",
        });
        let text = request_text(&event);
        for part in [
            "413 Refused (limit)   POST",
            "why     the body has more than 1024 bytes, which is waf.held_max (from: default)",
            "site    shop.example.com (sites[0])",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(
            !text.contains("score") && !text.contains("plugin"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_by_a_limit_is_explained_with_what_the_limit_is() {
        let event = json!({
            "request_id": "01JD8Z3V6Q0000000000000000", "time_ms": 1_764_000_000_042_u64, "client": "203.0.113.9",
            "method": "GET", "scheme": "https", "host": "shop.example.com", "target": "/", "status": 429,
            "site": "shop.example.com", "route": "sites[0]", "plugin": "limits", "mode": "enforce", "action": "limit",
            "rules": [{ "message": "client: 500 requests in 10s by address" }],
            "score": 0, "threshold": 0, "micros": 0,
        });
        let expected = "\
429 Refused (limit)   GET https://shop.example.com/   2025-11-24 16:00:00Z   from 203.0.113.9
  limit   client: 500 requests in 10s by address
  request 01JD8Z3V6Q0000000000000000
  site    shop.example.com (sites[0])
";
        assert_eq!(request_text(&event), expected);
    }

    #[test]
    fn a_block_is_explained_with_rule_variable_and_remedy() {
        let event = json!({
            "request_id": "01JD8Z3V6Q0000000000000000", "time_ms": 1_764_000_000_042_u64, "client": "203.0.113.9",
            "method": "POST", "scheme": "https", "host": "shop.example.com", "target": "/login\u{1b}", "status": 403,
            "site": "shop.example.com", "route": "sites[0]", "plugin": "waf", "mode": "block", "action": "block",
            "rules": [{ "id": 942_100, "message": "SQL injection", "variable": "ARGS:user", "value": "a' or 1=1--",
                        "severity": "critical", "phase": 2 }],
            "score": 5, "threshold": 5, "micros": 1900,
        });
        let text = request_text(&event);
        for part in [
            "403 Blocked   POST https://shop.example.com/login\\u{1b}   2025-11-24 16:00:00Z   from 203.0.113.9",
            "why     942100 SQL injection   ARGS:user = \"a' or 1=1--\"   critical",
            "request 01JD8Z3V6Q0000000000000000",
            "score   5 of 5",
            "exclude_targets: [\"942100:ARGS:user\"] }",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
