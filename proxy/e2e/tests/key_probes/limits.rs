//! `limits:` of profiles, sites and routes: all of it in one process, a site for each value.

use super::{PLACES, Place};
use aegis_testkit::{Aegis, Answer, Origin, Reply};
use serde_json::{Map, Value, json};

struct Row {
    key: &'static str,
    /// A limit with either value; for `headers` what `limits:` holds.
    values: [Value; 2],
    /// What three requests in a row and one by a neighbour got → `true` for the first value, `false` for the second.
    seen: fn(&[Answer], &Answer) -> bool,
}

/// A limit of so many requests in an hour with more keys.
fn hourly(limit: u64, more: Value) -> Value {
    let mut policy = json!({ "limit": limit, "window": "1h" });
    if let (Some(policy), Value::Object(more)) = (policy.as_object_mut(), more) {
        policy.extend(more);
    }
    policy
}

fn refused(answers: &[Answer], at: usize) -> bool {
    answers[at].status == 429
}

fn wait(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap_or(0)
}

fn table() -> Vec<Row> {
    let row = |key, one, two, seen| Row {
        key,
        values: [one, two],
        seen,
    };
    vec![
        row(
            "of",
            hourly(1, json!({})),
            hourly(1, json!({ "of": "bytes" })),
            |a, _| a[0].header("ratelimit-policy") == "\"p\";q=1;w=3600",
        ),
        row(
            "limit",
            hourly(1, json!({})),
            hourly(2, json!({})),
            |a, _| refused(a, 1),
        ),
        row(
            "window",
            hourly(1, json!({})),
            json!({ "limit": 1, "window": "2h" }),
            |a, _| a[0].header("ratelimit-policy").ends_with(";w=3600"),
        ),
        row(
            "burst",
            hourly(1, json!({})),
            hourly(1, json!({ "burst": 1 })),
            |a, _| refused(a, 1),
        ),
        row(
            "key",
            hourly(3, json!({ "key": ["site"] })),
            hourly(3, json!({})),
            |_, neighbour| neighbour.status == 429,
        ),
        row(
            "statuses",
            hourly(1, json!({ "of": "errors", "statuses": [200] })),
            hourly(1, json!({ "of": "errors", "statuses": [404] })),
            |a, _| refused(a, 2),
        ),
        row(
            "penalty",
            hourly(1, json!({ "penalty": "1d" })),
            hourly(1, json!({})),
            |a, _| wait(&a[1]) > 80_000,
        ),
        row(
            "dry_run",
            hourly(1, json!({})),
            hourly(1, json!({ "dry_run": true })),
            |a, _| refused(a, 1),
        ),
        row(
            "count_refused",
            hourly(
                1,
                json!({ "count_refused": true, "key": ["header:x-none", "site"] }),
            ),
            hourly(1, json!({ "key": ["header:x-none", "site"] })),
            // Counted, the second refusal makes the wait longer than the first did.
            |a, _| wait(&a[2]) > wait(&a[1]) + 60,
        ),
        row(
            "v4_prefix",
            hourly(3, json!({ "v4_prefix": 24 })),
            hourly(3, json!({})),
            |_, neighbour| neighbour.status == 429,
        ),
        row(
            "v6_prefix",
            hourly(3, json!({ "v6_prefix": 48 })),
            hourly(3, json!({})),
            |_, neighbour| neighbour.status == 429,
        ),
        row("headers", json!(true), json!(false), |a, _| {
            !a[0].header("ratelimit").is_empty()
        }),
    ]
}

/// A client and its neighbour, as a trusted proxy names them.
fn clients(key: &str) -> [&'static str; 2] {
    match key {
        "v6_prefix" => ["2001:db8:0:1::1", "2001:db8:0:2::1"],
        _ => ["192.0.2.1", "192.0.2.2"],
    }
}

fn path(place: Place, key: &str) -> String {
    match key {
        "headers" => place.path("limits", key),
        key => place.path("limits", &format!("policies.*.{key}")),
    }
}

pub(crate) fn rows() -> Vec<String> {
    let keys = table()
        .into_iter()
        .flat_map(|row| PLACES.map(|place| path(place, row.key)));
    keys.chain([
        "sites[].limits.profile".to_owned(),
        "sites[].routes[].limits.profile".to_owned(),
    ])
    .collect()
}

#[test]
fn every_key_acts_in_a_profile_a_site_and_a_route() {
    let origin = Origin::start(|_| Reply::text("x"));
    let (mut sites, mut profiles, mut expected) = (Vec::new(), Map::new(), Vec::new());
    for row in table() {
        for place in PLACES {
            for (i, value) in row.values.iter().enumerate() {
                let name = format!("{}-{place:?}-{i}", row.key.replace('_', "-")).to_lowercase();
                let host = format!("{name}.test");
                let values = match row.key {
                    "headers" => {
                        json!({ "headers": value, "policies": { "p": hourly(9, json!({})) } })
                    }
                    _ => json!({ "policies": { "p": value } }),
                };
                sites.push(place.site("limits", &values, &host, &origin.url(), &name));
                if matches!(place, Place::Profile) {
                    profiles.insert(name, values);
                }
                expected.push((host, clients(row.key), row.seen, i == 0));
            }
        }
    }
    let aegis = Aegis::before(&origin)
        .set("profiles.limits", profiles)
        .set("sites", sites)
        .set("node.client.trusted_proxies", json!(["127.0.0.1"]))
        .start();
    for (n, (host, [client, neighbour], seen, wanted)) in expected.into_iter().enumerate() {
        let ask = |target: &str, client: &str| {
            let curl = aegis.curl(target).header(&format!("Host: {host}"));
            curl.header(&format!("X-Forwarded-For: {client}")).send()
        };
        let answers = [0, 1, 2].map(|i| {
            let target = format!("/{n}/{i}");
            let answer = ask(&target, client);
            // What is charged afterwards was charged when the line is there.
            aegis.logged(&target);
            answer
        });
        let neighbour = ask("/", neighbour);
        assert_eq!(
            seen(&answers, &neighbour),
            wanted,
            "{host}: {answers:?} {neighbour:?}"
        );
    }
}

#[test]
fn a_profile_is_chosen_by_site_and_by_route() {
    let origin = Origin::start(|_| Reply::text("x"));
    let site = |host: &str, place: Place, profile: &str| {
        let values = json!({ "profile": profile });
        place.site("limits", &values, host, &origin.url(), profile)
    };
    let policies = |limit| json!({ "policies": { "p": hourly(limit, json!({})) } });
    let aegis = Aegis::before(&origin)
        .set(
            "profiles.limits",
            json!({ "one": policies(1), "two": policies(2) }),
        )
        .set(
            "sites",
            json!([
                site("site-one.test", Place::Site, "one"),
                site("site-two.test", Place::Site, "two"),
                site("route-one.test", Place::Route, "one"),
                site("route-two.test", Place::Route, "two"),
            ]),
        )
        .start();
    for (host, second) in [
        ("site-one", 429),
        ("site-two", 200),
        ("route-one", 429),
        ("route-two", 200),
    ] {
        let ask = || {
            aegis
                .curl("/")
                .header(&format!("Host: {host}.test"))
                .send()
                .status
        };
        assert_eq!([ask(), ask()], [200, second], "{host}");
    }
}
