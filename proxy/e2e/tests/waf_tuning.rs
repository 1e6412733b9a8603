//! `aegis waf`: the setting it prints lets the request through, and its list names the rules that fired.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::command;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::{Value, json};

const SQLI: &str = "/search?q=1%27%20OR%20%271%27=%271%27--%20";

fn waf(aegis: &Aegis, args: &[&str]) -> (Option<i32>, String, String) {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let mut all = vec!["waf"];
    all.extend(args);
    all.extend(["--socket", &socket]);
    let done = command(&all);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn attack(aegis: &Aegis) -> (u16, String) {
    let answer = aegis
        .curl(SQLI)
        .header("User-Agent: Mozilla/5.0")
        .header("Accept: */*")
        .send();
    (answer.status, answer.header("x-request-id").to_owned())
}

#[test]
fn the_setting_that_is_printed_lets_the_request_through() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let mut aegis = Aegis::before(&origin)
        .waf()
        .set("sites[0].waf.exclude_targets", json!(["941100:ARGS:old"]))
        .start();
    let (status, id) = attack(&aegis);
    assert_eq!(status, 403);
    let (code, printed, said) = waf(&aegis, &["exclude", &id]);
    assert_eq!(code, Some(0), "{said}");
    // What people paste is YAML, of which the last line is the setting.
    let line = printed
        .lines()
        .last()
        .unwrap()
        .strip_prefix("waf: ")
        .unwrap();
    assert!(line.contains("\"941100:ARGS:old\""), "{printed}");
    let (_, told, _) = waf(&aegis, &["exclude", &id, "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(
        told["exclude_targets"].as_array().unwrap().len() > 1,
        "{told:#}"
    );
    aegis.rewrite(|config| {
        config.set(
            "sites[0].waf.exclude_targets",
            told["exclude_targets"].clone(),
        );
        if told["exclude_rules"]
            .as_array()
            .is_some_and(|rules| !rules.is_empty())
        {
            config.set("sites[0].waf.exclude_rules", told["exclude_rules"].clone());
        }
    });
    eventually("the request passes", || {
        (attack(&aegis).0 == 200).then_some(())
    });
    // Another variable is looked at as before.
    let other = aegis.curl(&SQLI.replace("q=", "other=")).send();
    assert_eq!(other.status, 403);
}

#[test]
fn what_has_no_exclusion_is_said_so() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).waf().start();
    let (code, _, said) = waf(&aegis, &["exclude", "01JD8Z3V6Q0000000000000000"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("no event of this request is kept here"),
        "{said}"
    );
    let broken = aegis
        .curl("/")
        .header("Content-Type: application/json")
        .arg(&["--data-raw", "{\"a\":"])
        .send();
    assert_eq!(broken.status, 400);
    let (code, _, said) = waf(&aegis, &["exclude", broken.header("x-request-id")]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("could not be inspected") && said.contains("unseen"),
        "{said}"
    );
}

#[test]
fn the_rules_that_fired_are_listed_with_their_messages() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).waf().start();
    for _ in 0..2 {
        assert_eq!(attack(&aegis).0, 403);
    }
    let (code, text, said) = waf(&aegis, &["top"]);
    assert_eq!(code, Some(0), "{said}");
    let line = text
        .lines()
        .find(|line| line.contains("942100"))
        .unwrap_or_else(|| panic!("{text}"));
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!((words[1], words[2]), ("2", "2"), "{text}");
    assert!(line.contains("SQL Injection"), "{text}");
    let (_, none, _) = waf(&aegis, &["top", "--site", "other.test"]);
    assert!(none.contains("no rule has fired"), "{none}");
    let (code, _, _) = waf(&aegis, &["top", "--by", "size"]);
    assert_eq!(code, Some(64));
}
