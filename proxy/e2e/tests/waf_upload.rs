//! Limits of what is held and inspected, and what is past them.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::{Aegis, Curl, Origin, demo, eventually};
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static SHOP: LazyLock<(Origin, Aegis)> = LazyLock::new(|| {
    let origin = Origin::start(demo::answer);
    let site = |host: &str, waf: serde_json::Value| json!({ "hosts": [host], "origin": origin.url(), "waf": waf });
    let aegis = Aegis::before(&origin)
        .set("node.plugins.wait_max", "60s")
        .set(
            "sites",
            json!([
                site("*", json!({ "mode": "block" })),
                site(
                    "stream.test",
                    json!({ "over_limit": "stream", "text_max": "16KiB", "held_max": "64KiB" })
                ),
                site("gzip.test", json!({ "compressed": "decompress" })),
                site(
                    "small.test",
                    json!({ "held_max": "64KiB", "text_max": "16KiB" })
                ),
            ]),
        )
        .start();
    (origin, aegis)
});

const ATTACK: &str = "q=1' UNION SELECT password FROM users-- ";

fn post(host: &str) -> Curl {
    SHOP.1
        .curl("/upload")
        .header(&format!("Host: {host}"))
        .header("User-Agent: Mozilla/5.0")
        .header("Accept: */*")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

#[test]
fn ten_mebibytes_arrive_as_they_were_sent() {
    let bytes: Vec<u8> = (0..10u64 << 20)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let answer = post("shop.test")
        .arg(&[
            "-F",
            "file=@-;filename=holiday.bin",
            "-F",
            "note=from the sea",
        ])
        .stdin(bytes.clone())
        .send();
    assert_eq!(answer.status, 200, "{} {}", answer.text(), answer.error);
    assert_eq!(
        answer.json()["files"][0],
        json!({ "size": 10 << 20, "sha256": demo::sha256(&bytes) })
    );
}

#[test]
fn an_attack_beside_a_large_file_is_found() {
    let answer = post("shop.test")
        .arg(&["-F", "file=@-;filename=a.bin", "-F", ATTACK])
        .stdin(vec![7; 1 << 20])
        .send();
    assert_eq!(answer.status, 403);
}

#[test]
fn more_than_may_be_held_is_413_and_logged_as_such() {
    let answer = post("small.test")
        .arg(&["-F", "file=@-;filename=a.bin"])
        .stdin(vec![7; 200 << 10])
        .send();
    assert_eq!(answer.status, 413);
    assert!(
        SHOP.0
            .requests()
            .iter()
            .all(|r| !(r.header("host") == "small.test" && r.complete))
    );
    let log = SHOP.1.access_log_of(|line| line["host"] == "small.test");
    assert_eq!(
        (&log["status"], &log["error"]),
        (&413.into(), &"body_too_large".into())
    );
}

#[test]
fn more_text_than_is_inspected_is_413() {
    let text = format!("text={}", "a".repeat(200 << 10));
    let answer = post("shop.test")
        .body(text)
        .header("Content-Type: application/x-www-form-urlencoded")
        .send();
    assert_eq!(answer.status, 413);
}

#[test]
fn a_site_that_streams_lets_large_bodies_pass_and_still_finds_an_early_attack() {
    let bytes = vec![7; 300 << 10];
    let answer = post("stream.test")
        .arg(&["-F", "file=@-;filename=a.bin"])
        .stdin(bytes.clone())
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["files"][0]["sha256"],
        demo::sha256(&bytes).as_str()
    );
    let target = "/upload?attack";
    let blocked = post("stream.test")
        .to(target)
        .arg(&["-F", ATTACK, "-F", "file=@-;filename=a.bin"])
        .stdin(bytes)
        .send();
    let event = eventually(
        format!("an event; {} {}", blocked.status, blocked.error),
        || {
            let events = SHOP.1.admin("/events?recent=100");
            let mut events = events.as_array()?.iter();
            events.find(|e| e["target"] == target).cloned()
        },
    );
    assert_eq!(
        (&event["action"], &event["site"]),
        (&"block".into(), &"stream.test".into())
    );
    let found = event["rules"]
        .as_array()
        .unwrap()
        .iter()
        .any(|rule| rule["id"] == 942_100 && rule["variable"].to_string().contains(":q"));
    assert!(found, "{event:#}");
    // The line is written when all is over: what the origin saw, it has seen by then.
    SHOP.1.logged(target);
    let requests = SHOP.0.requests();
    let seen: Vec<_> = requests.iter().filter(|r| r.target == target).collect();
    assert!(
        seen.iter().all(|r| !r.complete),
        "{} bytes arrived as a whole body",
        seen[0].body.len()
    );
}

#[test]
fn a_compressed_body_is_415_or_inspected_as_the_site_likes() {
    let form = |curl: Curl, text: &str| {
        curl.header("Content-Type: application/x-www-form-urlencoded")
            .header("Content-Encoding: gzip")
            .body(gzip(text.as_bytes()))
            .send()
            .status
    };
    assert_eq!(form(post("shop.test"), "a=1"), 415);
    assert_eq!(form(post("gzip.test"), "a=1"), 200);
    assert_eq!(form(post("gzip.test"), &ATTACK.replace(' ', "+")), 403);
    let bomb = format!("a={}", "a".repeat(100 << 10));
    assert_eq!(
        form(post("gzip.test"), &bomb),
        413,
        "a ratio past the limit"
    );
}
