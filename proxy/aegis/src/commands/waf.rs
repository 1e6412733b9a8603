//! `aegis waf`: which rules fire and what they cost, and how to let a request through.

use super::client;
use crate::admin_client::{Answer, Client};
use crate::cli::{Exclude, Output, Top, TopBy};
use crate::terminal::{self, is_hostile, line, tame};
use aegis_telemetry::ring::{ALSO_MAX, Entry, Rule};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Rules that refuse what could not be inspected (a body that does not parse, more arguments than are looked at):
/// without them the rest would pass unseen, so no remedy names them.
const UNINSPECTED: [u32; 6] = [200_002, 200_003, 200_004, 200_005, 200_007, 200_009];
/// Rules of the Core Rule Set that hold the score against the threshold.
const JUDGES: [u32; 2] = [949, OUTBOUND];
const OUTBOUND: u32 = 959;

pub(super) fn top(args: &Top) -> anyhow::Result<ExitCode> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &args.limit.to_string());
    if args.by == TopBy::Cost {
        query.append_pair("by", "cost");
    }
    if let Some(site) = &args.site {
        query.append_pair("site", site);
    }
    let answer = client(&args.asking)?.ask(&format!("/waf/top?{}", query.finish()))?;
    match answer {
        Answer::Found(value) => print(&value, args.asking.output, top_text),
        Answer::NotFound(why) | Answer::Refused(why) => fail(&why),
    }
}

pub(super) fn exclude(args: &Exclude) -> anyhow::Result<ExitCode> {
    let client = client(&args.asking)?;
    let event = match client.ask(&format!("/events?request={}", args.request))? {
        Answer::Found(event) => event,
        Answer::NotFound(why) | Answer::Refused(why) => return fail(&why),
    };
    let event: Entry = serde_json::from_value(event)?;
    let exclusion = match Exclusion::of(&event) {
        Ok(exclusion) => exclusion,
        Err(why) => return fail(&why),
    };
    let value = exclusion.told(&event, &in_force(&client, &event)?);
    print(&value, args.asking.output, exclude_text)
}

fn print(value: &Value, output: Output, text: fn(&Value) -> String) -> anyhow::Result<ExitCode> {
    terminal::answer(&match output {
        Output::Json => format!("{value:#}\n"),
        Output::Text => text(value),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn fail(why: &str) -> anyhow::Result<ExitCode> {
    terminal::error(&tame(why));
    Ok(ExitCode::FAILURE)
}

/// What the route of a request excludes already: a list that is written takes the place of one from farther away.
fn in_force(client: &Client, event: &Entry) -> anyhow::Result<Value> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "url",
            &format!("{}://{}{}", event.scheme, event.host, event.target),
        )
        .append_pair("method", &event.method)
        .finish();
    Ok(match client.ask(&format!("/explain?{query}"))? {
        Answer::Found(found) => found["values"].clone(),
        // The settings changed since; what is printed then holds all there is to know.
        Answer::NotFound(_) | Answer::Refused(_) => Value::Null,
    })
}

/// What a request would have needed to pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exclusion {
    /// Rules and what they shall not look at.
    targets: Vec<String>,
    /// Rules that look at nothing that could be left out.
    rules: Vec<u32>,
}

impl Exclusion {
    /// Rules without which the score stays below the threshold, those that weigh most first.
    ///
    /// # Errors
    /// Why no exclusion of rules lets it pass.
    pub(super) fn of(event: &Entry) -> Result<Self, String> {
        if event.plugin != "waf" || event.rules.iter().all(|rule| rule.id == 0) {
            return Err(format!(
                "no rule of the WAF stopped {}; see aegis explain {}",
                event.request_id, event.request_id
            ));
        }
        if let Some(rule) = event
            .rules
            .iter()
            .find(|rule| UNINSPECTED.contains(&rule.id))
        {
            return Err(format!(
                "it could not be inspected (rule {}: {}): an exclusion would let what follows pass unseen",
                rule.id, rule.message
            ));
        }
        let mut out = Self::default();
        let own = event
            .by
            .as_ref()
            .filter(|by| !JUDGES.contains(&(by.id / 1000)));
        if let Some(by) = own {
            // A rule that denies by itself.
            match event.rules.iter().find(|rule| rule.id == by.id) {
                Some(rule) => out.add(rule),
                None => out.rules.push(by.id),
            }
            return Ok(out);
        }
        // Requests and responses have a score each.
        let outbound = event.by.as_ref().is_some_and(|by| by.id / 1000 == OUTBOUND);
        let counts = |rule: &&Rule| points(rule) > 0 && (rule.phase > 2) == outbound;
        let mut rules: Vec<_> = event.rules.iter().filter(counts).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(points(rule)));
        let mut score = event.score;
        for rule in rules {
            if score < event.threshold {
                break;
            }
            out.add(rule);
            // In how many places it counted is not known: its chain names others too.
            score = score.saturating_sub(points(rule));
        }
        if out == Self::default() {
            return Err("none of the rules that matched adds to the score".to_owned());
        }
        Ok(out)
    }

    fn add(&mut self, rule: &Rule) {
        let named = |variable: &str| {
            variable
                .split(':')
                .next()
                .is_some_and(|name| !name.is_empty())
        };
        // Names without end are a client's, and will be others the next time.
        let endless = rule.also.len() >= ALSO_MAX;
        if endless || !named(&rule.variable) || rule.variable.starts_with("TX") {
            self.rules.push(rule.id);
            return;
        }
        for variable in std::iter::once(&rule.variable).chain(&rule.also) {
            self.targets.push(format!("{}:{variable}", rule.id));
        }
    }

    /// As one line of the settings.
    pub(super) fn line(&self) -> String {
        waf_line(&json!(self.targets), &json!(self.rules))
    }

    fn told(&self, event: &Entry, values: &Value) -> Value {
        let with = |key: &str, new: Vec<Value>| {
            let mut all = values[key]["value"].as_array().cloned().unwrap_or_default();
            for value in new {
                if !all.contains(&value) {
                    all.push(value);
                }
            }
            all
        };
        let targets = with(
            "waf.exclude_targets",
            self.targets.iter().map(|t| json!(t)).collect(),
        );
        let rules = with(
            "waf.exclude_rules",
            self.rules.iter().map(|r| json!(r)).collect(),
        );
        let path = event.target.split('?').next().unwrap_or("/");
        json!({
            "request": event.request_id, "site": event.site, "route": event.route, "path": path,
            "exclude_targets": if self.targets.is_empty() { Vec::new() } else { targets },
            "exclude_rules": if self.rules.is_empty() { Vec::new() } else { rules },
            "why": event.rules.iter().filter(|rule| self.names(rule.id)).map(|rule| json!({
                "rule": rule.id, "message": rule.message, "variable": rule.variable, "value": rule.value,
            })).collect::<Vec<_>>(),
        })
    }

    fn names(&self, rule: u32) -> bool {
        let of_rule = format!("{rule}:");
        self.rules.contains(&rule)
            || self
                .targets
                .iter()
                .any(|target| target.starts_with(&of_rule))
    }
}

/// What a match adds to the score, as the Core Rule Set counts.
fn points(rule: &Rule) -> i64 {
    match rule.severity.as_str() {
        "emergency" | "alert" | "critical" => 5,
        "error" => 4,
        "warning" => 3,
        "notice" => 2,
        _ => 0,
    }
}

fn waf_line(targets: &Value, rules: &Value) -> String {
    let list = |key: &str, value: &Value| {
        let items = value.as_array().filter(|items| !items.is_empty())?;
        let items: Vec<_> = items
            .iter()
            .map(|item| escaped(&item.to_string()))
            .collect();
        Some(format!("{key}: [{}]", items.join(", ")))
    };
    let keys = [
        list("exclude_targets", targets),
        list("exclude_rules", rules),
    ];
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    format!("waf: {{ {} }}", keys.join(", "))
}

/// JSON that is YAML too, and harms no terminal.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_hostile(letter) {
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    out
}

fn exclude_text(value: &Value) -> String {
    let text = |value: &Value| tame(value.as_str().unwrap_or_default());
    let mut out = String::new();
    for rule in value["why"].as_array().into_iter().flatten() {
        line!(
            out,
            "# {} {}   {} = \"{}\"",
            rule["rule"],
            text(&rule["message"]),
            text(&rule["variable"]),
            text(&rule["value"])
        );
    }
    line!(
        out,
        "# under {} ({}), or a route of its own: match: {{ path: {} }}",
        text(&value["route"]),
        text(&value["site"]),
        text(&value["path"])
    );
    line!(
        out,
        "{}",
        waf_line(&value["exclude_targets"], &value["exclude_rules"])
    );
    out
}

fn top_text(value: &Value) -> String {
    let mut out = String::new();
    let rules = value["rules"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() {
        line!(out, "no rule has fired since this node began");
    } else {
        line!(
            out,
            "   rule   matched   blocked   µs/request   share   message"
        );
    }
    for rule in rules {
        let number = |key: &str| rule[key].as_u64().unwrap_or(0);
        let part = |key: &str| rule[key].as_f64().unwrap_or(0.0);
        line!(
            out,
            "{:>7} {:>9} {:>9} {:>12.2} {:>5.1} %   {}",
            number("rule"),
            number("matched"),
            number("blocked"),
            part("micros"),
            part("share_percent"),
            tame(rule["message"].as_str().unwrap_or_default())
        );
    }
    let measured = value["measured"].as_u64().unwrap_or(0);
    if measured == 0 {
        line!(out, "no request has been measured yet (waf.measure_every)");
    } else {
        let all = value["rules_micros"].as_f64().unwrap_or(0.0);
        line!(
            out,
            "all rules: {all:.0} µs a request, on average of {measured} measured"
        );
    }
    if let Some(more) = value["more"].as_u64().filter(|more| *more > 0) {
        line!(out, "{more} more: --limit");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_telemetry::ring::By;

    fn rule(id: u32, severity: &str, variable: &str) -> Rule {
        Rule {
            id,
            severity: severity.into(),
            variable: variable.into(),
            ..Rule::default()
        }
    }

    fn event(score: i64, rules: Vec<Rule>) -> Entry {
        Entry {
            plugin: "waf".into(),
            score,
            threshold: 5,
            rules,
            by: Some(Box::new(By {
                id: 949_110,
                ..By::default()
            })),
            ..Entry::default()
        }
    }

    #[test]
    fn no_more_is_excluded_than_lets_it_pass() {
        let rules = vec![
            rule(920_350, "warning", "REQUEST_HEADERS:Host"),
            rule(942_100, "critical", "ARGS:q"),
        ];
        let found = Exclusion::of(&event(8, rules.clone())).expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["942100:ARGS:q"] }"#
        );
        let found = Exclusion::of(&event(13, rules)).expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["942100:ARGS:q", "920350:REQUEST_HEADERS:Host"] }"#
        );
    }

    #[test]
    fn every_place_where_a_rule_matched_is_named_and_one_that_names_none_is_switched_off() {
        let mut one = rule(941_100, "critical", "ARGS:a");
        one.also = vec!["ARGS:b".into()];
        let found = Exclusion::of(&event(15, vec![one, rule(911_100, "critical", "")]))
            .expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["941100:ARGS:a", "941100:ARGS:b"], exclude_rules: [911100] }"#
        );
    }

    #[test]
    fn what_the_answer_matched_does_not_count_for_the_request() {
        let mut answer = rule(951_100, "critical", "RESPONSE_BODY");
        answer.phase = 4;
        let rules = vec![
            answer,
            rule(930_100, "error", "REQUEST_URI"),
            rule(930_110, "error", "ARGS:f"),
        ];
        let mut event = event(8, rules);
        let found = Exclusion::of(&event).expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["930100:REQUEST_URI"] }"#
        );
        event.by = Some(Box::new(By {
            id: 959_100,
            ..By::default()
        }));
        let found = Exclusion::of(&event).expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["951100:RESPONSE_BODY"] }"#
        );
    }

    #[test]
    fn a_rule_that_denies_by_itself_is_the_one() {
        let mut own = event(
            5,
            vec![
                rule(942_100, "critical", "ARGS:q"),
                rule(1_000_001, "", "ARGS:colour"),
            ],
        );
        own.by = Some(Box::new(By {
            id: 1_000_001,
            ..By::default()
        }));
        let found = Exclusion::of(&own).expect("there is one");
        assert_eq!(
            found.line(),
            r#"waf: { exclude_targets: ["1000001:ARGS:colour"] }"#
        );
    }

    #[test]
    fn what_was_not_inspected_and_what_no_rule_stopped_has_no_exclusion() {
        let why =
            Exclusion::of(&event(5, vec![rule(200_002, "critical", "REQBODY_ERROR")])).unwrap_err();
        assert!(why.contains("unseen"), "{why}");
        let mut limited = event(0, vec![rule(0, "", "")]);
        limited.plugin = "limits".into();
        assert!(
            Exclusion::of(&limited)
                .unwrap_err()
                .contains("aegis explain")
        );
    }

    #[test]
    fn whatever_a_client_called_it_the_setting_is_yaml() {
        let names = ["ARGS:\u{7f}\u{202e}\"x", "ARGS:grüße"];
        let rules = names.map(|name| rule(942_100, "critical", name));
        let line = Exclusion::of(&event(10, rules.to_vec()))
            .expect("there is one")
            .line();
        assert_eq!(
            line,
            r#"waf: { exclude_targets: ["942100:ARGS:\u007f\u202e\"x", "942100:ARGS:grüße"] }"#
        );
        let mut endless = rule(942_100, "critical", "ARGS:a");
        endless.also = vec!["ARGS:b".into(); ALSO_MAX];
        let line = Exclusion::of(&event(10, vec![endless]))
            .expect("there is one")
            .line();
        assert_eq!(line, "waf: { exclude_rules: [942100] }");
    }

    #[test]
    fn what_a_route_excludes_already_is_kept() {
        let found = Exclusion::of(&event(5, vec![rule(942_100, "critical", "ARGS:q")]))
            .expect("there is one");
        let values = json!({ "waf.exclude_targets": { "value": ["941100:ARGS:old"] }, "waf.exclude_rules": { "value": [1] } });
        let told = found.told(
            &event(5, vec![rule(942_100, "critical", "ARGS:q")]),
            &values,
        );
        assert!(
            exclude_text(&told)
                .ends_with("waf: { exclude_targets: [\"941100:ARGS:old\", \"942100:ARGS:q\"] }\n")
        );
    }
}
