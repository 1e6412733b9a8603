//! `cache:` of profiles, sites and routes: all of it in one process, a site for each value.

use super::{PLACES, Place};
use aegis_testkit::{Aegis, Answer, Origin, Reply};
use serde_json::{Value, json};

struct Row {
    key: &'static str,
    values: [Value; 2],
    target: &'static str,
    /// What two requests got → `true` for the first value, `false` for the second.
    seen: fn(&Answer, &Answer) -> bool,
}

fn same(first: &Answer, second: &Answer) -> bool {
    first.header("x-count") == second.header("x-count")
}

fn table() -> Vec<Row> {
    vec![
        Row {
            key: "enabled",
            values: [json!(true), json!(false)],
            target: "/fresh",
            seen: same,
        },
        Row {
            key: "object_max",
            values: [json!("8MiB"), json!("1KiB")],
            target: "/fresh",
            seen: same,
        },
        Row {
            key: "ttl_default",
            values: [json!("60s"), json!("0s")],
            target: "/silent",
            seen: same,
        },
        Row {
            key: "status_header",
            values: [json!(true), json!(false)],
            target: "/fresh",
            seen: |_, second| !second.header("cache-status").is_empty(),
        },
    ]
}

pub(crate) fn rows() -> Vec<String> {
    let keys = table()
        .into_iter()
        .flat_map(|row| PLACES.map(|place| place.path("cache", row.key)));
    keys.chain([
        "sites[].cache.profile".to_owned(),
        "sites[].routes[].cache.profile".to_owned(),
    ])
    .collect()
}

fn origin() -> Origin {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |request| {
        let n = count
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .to_string();
        let reply = Reply::text(vec![b'x'; 4000]).header("x-count", &n);
        if request.path() == "/fresh" {
            reply.header("cache-control", "max-age=60")
        } else {
            reply
        }
    })
}

#[test]
fn every_key_acts_in_a_profile_a_site_and_a_route() {
    let origin = origin();
    let (mut sites, mut profiles, mut expected) = (Vec::new(), serde_json::Map::new(), Vec::new());
    for row in table() {
        for place in PLACES {
            for (i, value) in row.values.iter().enumerate() {
                let name = format!("{}-{place:?}-{i}", row.key.replace('_', "-")).to_lowercase();
                let host = format!("{name}.test");
                let values = json!({ row.key: value });
                sites.push(place.site("cache", &values, &host, &origin.url(), &name));
                if matches!(place, Place::Profile) {
                    profiles.insert(name, values);
                }
                expected.push((host, row.target, row.seen, i == 0));
            }
        }
    }
    let aegis = Aegis::before(&origin)
        .set("profiles.cache", profiles)
        .set("sites", sites)
        .start();
    for (host, target, seen, wanted) in expected {
        let ask = || aegis.curl(target).header(&format!("Host: {host}")).send();
        let (first, second) = (ask(), ask());
        assert_eq!(
            seen(&first, &second),
            wanted,
            "{host}: {first:?} {second:?}"
        );
    }
}

#[test]
fn a_profile_is_chosen_by_site_and_by_route() {
    let origin = origin();
    let site = |host: &str, place: Place, profile: &str| {
        place.site(
            "cache",
            &json!({ "profile": profile }),
            host,
            &origin.url(),
            profile,
        )
    };
    let aegis = Aegis::before(&origin)
        .set(
            "profiles.cache",
            json!({ "on": { "enabled": true }, "none": { "enabled": false } }),
        )
        .set(
            "sites",
            json!([
                site("site-on.test", Place::Site, "on"),
                site("site-none.test", Place::Site, "none"),
                site("route-on.test", Place::Route, "on"),
                site("route-none.test", Place::Route, "none"),
            ]),
        )
        .start();
    for (host, kept) in [
        ("site-on", true),
        ("site-none", false),
        ("route-on", true),
        ("route-none", false),
    ] {
        let ask = || {
            aegis
                .curl("/fresh")
                .header(&format!("Host: {host}.test"))
                .send()
        };
        assert_eq!(same(&ask(), &ask()), kept, "{host}");
    }
}
