//! `node.verdicts:`, `node.admin.tokens:` and `node.log.mask:`
//!
//! Rules are told apart by what malformed requests make of them: the client of a test is this machine, which may not be
//! banned, so a ban that a rule wants is counted as refused, under the rule's name.

use aegis_testkit::aegis::{Builder, command_with};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::time::Duration;

fn origin() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

fn before(origin: &Origin) -> Builder {
    Aegis::before(origin).set("sites[0].hosts", json!(["a.test", "*"]))
}

fn run(aegis: &Aegis, args: &[&str], token: Option<&str>) -> bool {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--socket", &socket]).collect();
    let env: Vec<_> = token
        .map(|token| ("AEGIS_TOKEN", token))
        .into_iter()
        .collect();
    command_with(&args, &env).status.success()
}

/// How often rule `name` wanted a ban after so many malformed requests with pauses between them.
fn wanted(rule: &Value, requests: usize, name: &str, pause: Duration) -> f64 {
    let origin = origin();
    let aegis = before(&origin)
        .set("node.verdicts.rules", json!([rule]))
        .start();
    for n in 0..requests {
        if n > 0 {
            std::thread::sleep(pause);
        }
        let mut client = aegis.raw();
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(client.answer().status(), 400);
    }
    let label = format!("author=\"{name}\"");
    // The fault is told when its answer is made, before the client has it.
    aegis.metrics().sum("aegis_verdicts_made_total", &[&label])
}

const NO_PAUSE: Duration = Duration::ZERO;

fn rule(with: &Value) -> Value {
    let mut rule = json!({ "name": "r", "fault": "bad_request", "count": 2 });
    for (key, value) in with.as_object().unwrap() {
        rule[key] = value.clone();
    }
    rule
}

/// A token that may do `roles`, with this name and secret.
fn token(name: &str, secret: &str, roles: &[&str]) -> (Origin, Aegis) {
    let origin = origin();
    let tokens = json!([{ "name": name, "secret": "file:token", "roles": roles }]);
    let aegis = before(&origin)
        .file("token", secret)
        .set("node.admin.tokens", tokens)
        .start();
    (origin, aegis)
}

const SECRET: &str = "0123456789abcdef";

rows! {
    "node.verdicts.entries_max" so_many_are_kept {
        let kept = [1, 100].map(|max| {
            let origin = origin();
            let aegis = before(&origin).set("node.verdicts.entries_max", max).start();
            ["203.0.113.1", "203.0.113.2"].map(|ip| run(&aegis, &["ban", ip], None))
        });
        assert_eq!(kept, [[true, false], [true, true]]);
    }
    "node.verdicts.never_ban" they_are_banned_by_force_only {
        let banned = [json!(["203.0.113.0/24"]), json!([])].map(|list| {
            let origin = origin();
            let aegis = before(&origin).set("node.verdicts.never_ban", list).start();
            run(&aegis, &["ban", "203.0.113.9"], None)
        });
        assert_eq!(banned, [false, true]);
    }
    "node.verdicts.rules[].name" bans_are_counted_by_it {
        let made = ["one", "two"].map(|name| wanted(&rule(&json!({ "name": name })), 2, "one", NO_PAUSE));
        assert_eq!(made, [1.0, 0.0]);
    }
    "node.verdicts.rules[].fault" only_such_faults_count {
        let made = ["bad_request", "waf_block"].map(|fault| wanted(&rule(&json!({ "fault": fault })), 2, "r", NO_PAUSE));
        assert_eq!(made, [1.0, 0.0]);
    }
    "node.verdicts.rules[].count" so_many_faults_make_a_ban {
        let made = [2, 3].map(|count| wanted(&rule(&json!({ "count": count })), 2, "r", NO_PAUSE));
        assert_eq!(made, [1.0, 0.0]);
    }
    "node.verdicts.rules[].window" faults_further_apart_do_not_count {
        let pause = Duration::from_millis(1100);
        let made = ["1s", "1h"].map(|window| wanted(&rule(&json!({ "window": window })), 2, "r", pause));
        assert_eq!(made, [0.0, 1.0]);
    }
    "node.verdicts.rules[].ban" the_first_ban_is_that_long {
        let long = ["10m", "1h"].map(|ban| {
            let (_origin, aegis) = limited(&json!({ "ban": ban }));
            exceed(&aegis, CLIENT, "a.test", 3);
            seconds_left(&aegis, CLIENT) > 600
        });
        assert_eq!(long, [false, true]);
    }
    "node.verdicts.rules[].ban_max" the_second_ban_is_longer_up_to_that {
        let longer = ["10m", "1h"].map(|max| {
            let (_origin, aegis) = limited(&json!({ "ban": "10m", "ban_max": max }));
            exceed(&aegis, CLIENT, "a.test", 3);
            assert!(run(&aegis, &["unban", CLIENT], None));
            exceed(&aegis, CLIENT, "a.test", 2);
            seconds_left(&aegis, CLIENT) > 600
        });
        assert_eq!(longer, [false, true]);
    }
    "node.verdicts.rules[].v6_prefix" neighbours_in_it_are_one_client {
        let neighbour = [64, 128].map(|length| {
            let (_origin, aegis) = limited(&json!({ "v6_prefix": length }));
            exceed(&aegis, "2001:db8::1", "a.test", 3);
            ask(&aegis, "2001:db8::2", "a.test")
        });
        assert_eq!(neighbour[0], 403);
        assert_ne!(neighbour[1], 403);
    }
    "node.verdicts.rules[].node.sites" bans_on_so_many_sites_become_one_of_all {
        let everywhere = [2, 3].map(|sites| {
            let (_origin, aegis) = limited(&json!({ "node": { "sites": sites } }));
            ["a.test", "b.test"].iter().for_each(|site| exceed(&aegis, CLIENT, site, 3));
            ask(&aegis, CLIENT, "c.test") == 403
        });
        assert_eq!(everywhere, [true, false]);
    }
    "node.verdicts.rules[].node.within" bans_within_it_count {
        let said = ["1m", "2h"].map(|within| {
            let (_origin, aegis) = limited(&json!({ "node": { "sites": 2, "within": within } }));
            ["a.test", "b.test"].iter().for_each(|site| exceed(&aegis, CLIENT, site, 3));
            let why = aegis.admin(&format!("/why?ip={CLIENT}"));
            let verdicts = why["verdicts"].as_array().unwrap();
            verdicts.iter().find(|ban| ban["site"].is_null()).unwrap()["reason"].clone()
        });
        assert_eq!(said, ["banned on 2 sites within 60 s", "banned on 2 sites within 7200 s"]);
    }
    "node.admin.tokens[].name" what_is_made_with_it_bears_its_name {
        let authors = ["ops", "ann"].map(|name| {
            let (_origin, aegis) = token(name, SECRET, &["ban"]);
            assert!(run(&aegis, &["ban", CLIENT], Some(SECRET)));
            aegis.admin(&format!("/why?ip={CLIENT}"))["verdicts"][0]["author"]["name"].clone()
        });
        assert_eq!(authors, ["ops", "ann"]);
    }
    "node.admin.tokens[].secret" only_who_knows_it_may {
        let done = [SECRET, "fedcba9876543210"].map(|secret| {
            let (_origin, aegis) = token("ops", secret, &["ban"]);
            run(&aegis, &["ban", CLIENT], Some(SECRET))
        });
        assert_eq!(done, [true, false]);
    }
    "node.admin.tokens[].roles" it_allows_those_alone {
        let may = [["ban"], ["read"]].map(|roles| {
            let (_origin, aegis) = token("ops", SECRET, &roles);
            [&["ban", CLIENT][..], &["why", CLIENT]].map(|args| run(&aegis, args, Some(SECRET)))
        });
        assert_eq!(may, [[true, false], [false, true]]);
    }
    "node.log.mask" values_of_that_name_are_not_shown {
        let targets = [json!(["iban"]), json!([])].map(|mask| {
            let origin = origin();
            let aegis = before(&origin).set("node.log.mask", mask).start();
            aegis.get("/pay?iban=DE1&x=1");
            aegis.access_log_of(|line| line["status"] == 200)["target"].clone()
        });
        assert_eq!(targets, ["/pay?iban=(masked)&x=1", "/pay?iban=DE1&x=1"]);
    }
}

const CLIENT: &str = "203.0.113.9";

/// Sites that one client may ask once an hour, behind a proxy that is trusted, and a rule for who asks more.
fn limited(with: &Value) -> (Origin, Aegis) {
    let origin = origin();
    let mut limited = rule(with);
    limited["fault"] = "limit_exceeded".into();
    let site = |host: &str| {
        json!({
            "hosts": [host], "origin": origin.url(), "waf": "off",
            "limits": { "policies": { "one": { "of": "requests", "limit": 1, "window": "1h" } } },
        })
    };
    let aegis = Aegis::before(&origin)
        .set(
            "sites",
            json!([site("a.test"), site("b.test"), site("c.test")]),
        )
        .set("node.client.trusted_proxies", json!(["127.0.0.0/8"]))
        .set("node.verdicts.rules", json!([limited]))
        .start();
    (origin, aegis)
}

fn ask(aegis: &Aegis, client: &str, site: &str) -> u16 {
    let curl = aegis.curl("/").header(&format!("Host: {site}"));
    curl.header(&format!("X-Forwarded-For: {client}"))
        .send()
        .status
}

/// Asks that often, and waits until the ban is there that follows.
fn exceed(aegis: &Aegis, client: &str, site: &str, times: usize) {
    for _ in 0..times {
        ask(aegis, client, site);
    }
    eventually("a ban", || (ask(aegis, client, site) == 403).then_some(()));
}

fn seconds_left(aegis: &Aegis, client: &str) -> u64 {
    aegis.admin(&format!("/why?ip={client}"))["verdicts"][0]["seconds_left"]
        .as_u64()
        .unwrap()
}
