//! `/waf/top`: which rules fire, and what each costs.

use super::answer::{Answer, json_answer, parameter, problem};
use aegis_telemetry::rules::{self, Top};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};

/// Rules in one answer.
const RULES: usize = 20;
const RULES_MAX: usize = 4_096;

/// What is known of one rule.
#[derive(Debug, Default)]
struct Row {
    message: String,
    sites: BTreeSet<String>,
    matched: u64,
    blocked: u64,
    last_ms: u64,
    /// Microseconds a measured request, on average over all of them.
    micros: f64,
}

pub(super) fn top<B>(request: &Request<B>) -> Answer {
    let by_cost = match parameter(request, "by").as_deref() {
        None | Some("fired") => false,
        Some("cost") => true,
        Some(_) => return problem(StatusCode::BAD_REQUEST, "by wants `fired` or `cost`"),
    };
    let limit = parameter(request, "limit").map_or(Some(RULES), |n| n.parse().ok());
    let Some(limit) = limit else {
        return problem(StatusCode::BAD_REQUEST, "limit wants a number");
    };
    let site = parameter(request, "site");
    let told = told(
        &rules::top(),
        site.as_deref(),
        by_cost,
        limit.min(RULES_MAX),
    );
    json_answer(StatusCode::OK, &told)
}

fn told(top: &Top, site: Option<&str>, by_cost: bool, limit: usize) -> Value {
    let mut rows: HashMap<u32, Row> = HashMap::new();
    for fired in &top.fired {
        if site.is_some_and(|site| *site != *fired.site) {
            continue;
        }
        let row = rows.entry(fired.rule).or_default();
        row.message = fired.message.to_string();
        row.sites.insert(fired.site.to_string());
        row.matched += fired.matched;
        row.blocked += fired.blocked;
        row.last_ms = row.last_ms.max(fired.last_ms);
    }
    let micros = |nanos: u64| nanos as f64 / 1000.0 / top.measured.max(1) as f64;
    for (rule, cost) in &top.costs {
        if by_cost || rows.contains_key(rule) {
            rows.entry(*rule).or_default().micros = micros(cost.nanos);
        }
    }
    let all: f64 = top.costs.values().map(|cost| micros(cost.nanos)).sum();
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|(a_id, a), (b_id, b)| {
        let order = if by_cost {
            b.micros.total_cmp(&a.micros)
        } else {
            b.matched.cmp(&a.matched)
        };
        order.then(a_id.cmp(b_id))
    });
    let more = rows.len().saturating_sub(limit);
    rows.truncate(limit);
    let rules: Vec<_> = rows
        .into_iter()
        .map(|(rule, row)| {
            json!({
                "rule": rule, "message": row.message, "sites": row.sites, "matched": row.matched, "blocked": row.blocked,
                "last_ms": row.last_ms, "micros": (row.micros * 100.0).round() / 100.0,
                "share_percent": if all > 0.0 { (row.micros / all * 1000.0).round() / 10.0 } else { 0.0 },
            })
        })
        .collect();
    json!({
        "rules": rules, "more": more, "measured": top.measured, "rules_micros": (all * 100.0).round() / 100.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_telemetry::rules::{Cost, Fired};

    fn top_() -> Top {
        let fired = |rule, site: &str, matched| Fired {
            rule,
            message: format!("rule {rule}").into(),
            site: site.into(),
            matched,
            blocked: 1,
            last_ms: 7,
        };
        Top {
            fired: vec![fired(1, "a", 3), fired(1, "b", 4), fired(2, "b", 5)],
            costs: [
                (
                    2,
                    Cost {
                        requests: 2,
                        nanos: 4_000,
                    },
                ),
                (
                    3,
                    Cost {
                        requests: 2,
                        nanos: 12_000,
                    },
                ),
            ]
            .into(),
            measured: 2,
        }
    }

    fn ids(told: &Value) -> Vec<u64> {
        let rules = told["rules"].as_array().expect("a list").iter();
        rules
            .map(|rule| rule["rule"].as_u64().expect("a number"))
            .collect()
    }

    #[test]
    fn rules_are_told_by_how_often_they_fired_or_by_what_they_cost() {
        let fired = told(&top_(), None, false, 10);
        assert_eq!(ids(&fired), [1, 2]);
        assert_eq!(fired["rules"][0]["matched"], 7);
        assert_eq!(fired["rules"][0]["sites"], json!(["a", "b"]));
        assert_eq!(fired["rules"][1]["micros"], 2.0);
        let dear = told(&top_(), None, true, 2);
        assert_eq!(ids(&dear), [3, 2]);
        assert_eq!(
            (&dear["more"], &dear["rules"][0]["share_percent"]),
            (&json!(1), &json!(75.0))
        );
        assert_eq!(ids(&told(&top_(), Some("b"), false, 10)), [2, 1]);
        assert!(ids(&told(&top_(), Some("c"), false, 10)).is_empty());
    }
}
