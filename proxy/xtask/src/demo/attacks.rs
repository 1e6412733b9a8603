//! Four attacks, each refused with an explanation for the operator.

use super::say::Told;
use super::scene::Scene;
use anyhow::{Context, Result};
use serde_json::Value;

/// A request no honest client sends.
pub(super) struct Attack {
    pub(super) name: &'static str,
    target: &'static str,
    /// JSON to POST; none = GET.
    json: Option<&'static str>,
    /// First digits of the rules that are there for it.
    family: &'static str,
}

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "SQL injection",
        target: "/search?q=1%27%20OR%20%271%27=%271%27--%20",
        json: None,
        family: "942",
    },
    Attack {
        name: "cross-site scripting",
        target: "/search?q=%3Cscript%3Ealert(1)%3C/script%3E",
        json: None,
        family: "941",
    },
    Attack {
        name: "path traversal",
        target: "/product/0?picture=../../../../etc/passwd",
        json: None,
        family: "930",
    },
    Attack {
        name: "SQL injection inside JSON",
        target: "/api/reviews",
        json: Some(r#"{"product":1,"text":"lovely' UNION SELECT password FROM users -- "}"#),
        family: "942",
    },
];

/// Sends it, and asks the admin socket why it was blocked.
pub(super) fn send(scene: &Scene, attack: &Attack) -> Result<Told> {
    let mut curl = scene.curl(attack.target).http2();
    if let Some(json) = attack.json {
        curl = curl.arg(&["-H", "Content-Type: application/json", "-d", json]);
    }
    let answer = curl.send();
    let id = answer.header("x-request-id").to_owned();
    let events = scene.admin(&format!("/events?request={id}"))?;
    let rule = first_rule(&events, attack.family).with_context(|| {
        format!(
            "{} and no rule {}… in {events}",
            answer.status, attack.family
        )
    })?;
    let method = if attack.json.is_some() { "POST" } else { "GET" };
    Ok(Told {
        sent: format!("{}: {method} {}", attack.name, attack.target),
        got: format!(
            "{}, rule {} on {}, request {id}",
            answer.status,
            rule["id"],
            rule["variable"].as_str().unwrap_or("–")
        ),
        shows: rule["message"].as_str().unwrap_or("–").to_owned(),
        again: format!(
            "{}; {}",
            curl.arg(&["-si"]).typed(),
            scene.admin_command(&format!("/events?request={id}"))
        ),
        held: answer.status == 403,
    })
}

/// The first matched rule of this family, wherever the answer holds it.
fn first_rule(events: &Value, family: &str) -> Option<Value> {
    match events {
        Value::Array(list) => list.iter().find_map(|e| first_rule(e, family)),
        Value::Object(map) => match map.get("rules") {
            Some(Value::Array(rules)) => rules
                .iter()
                .find(|r| r["id"].to_string().starts_with(family))
                .cloned(),
            _ => map.values().find_map(|v| first_rule(v, family)),
        },
        _ => None,
    }
}
