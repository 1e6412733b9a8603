//! `waf.body_mode: spool`: what the origin, the logs, the limits and the disk see of it.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::{Builder, command};
use aegis_testkit::{Aegis, Answer, Curl, Origin, demo, eventually};
use serde_json::{Value, json};
use std::fs;

const ATTACK: [&str; 2] = ["-F", "q=1' UNION SELECT password FROM users-- "];

fn spooling(origin: &Origin) -> Builder {
    Aegis::before(origin)
        .set("node.plugins.wait_max", "60s")
        .set(
            "sites[0].waf",
            json!({ "mode": "block", "body_mode": "spool" }),
        )
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

fn upload(aegis: &Aegis, path: &str, bytes: Vec<u8>) -> Curl {
    aegis
        .curl(path)
        .header("User-Agent: Mozilla/5.0")
        .header("Accept: */*")
        .arg(&["-F", "file=@-;filename=a.bin"])
        .stdin(bytes)
}

/// What the running node says of the request with this answer.
fn explained(aegis: &Aegis, answer: &Answer) -> String {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let output = command(&[
        "explain",
        answer.header("x-request-id"),
        "--socket",
        &socket,
    ]);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn lines(aegis: &Aegis, path: &str) -> Vec<Value> {
    let all = aegis.access_log().into_iter();
    all.filter(|line| line["target"] == path).collect()
}

#[test]
fn a_blocked_upload_is_explained_counted_once_and_never_seen_by_the_origin() {
    let origin = Origin::start(demo::answer);
    let aegis = spooling(&origin)
        .set(
            "sites[0].limits",
            json!({ "policies": { "p": { "limit": 10, "window": "1h" } } }),
        )
        .start();
    let blocked = upload(&aegis, "/blocked", bytes(5 << 20))
        .arg(&ATTACK)
        .send();
    assert_eq!(blocked.status, 403, "{}", blocked.text());
    let text = explained(&aegis, &blocked);
    assert!(text.contains("942"), "the rule is named: {text}");
    assert_eq!(origin.connections(), 0);
    let sent = bytes(5 << 20);
    let passed = upload(&aegis, "/upload", sent.clone()).send();
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(
        passed.json()["files"][0],
        json!({ "size": 5 << 20, "sha256": demo::sha256(&sent) })
    );
    assert_eq!(origin.connections(), 1);
    // Two requests, two lines, two of ten.
    assert!(
        passed.header("ratelimit").contains("r=8"),
        "{}",
        passed.header("ratelimit")
    );
    let line = aegis.logged("/upload");
    assert_eq!(
        (&line["status"], &line["kind"]),
        (&json!(200), &json!("request")),
        "{line}"
    );
    assert!(line["bytes_received"].as_u64() > Some(5 << 20), "{line}");
    assert_eq!(lines(&aegis, "/upload").len(), 1);
    assert_eq!(lines(&aegis, "/blocked").len(), 1);
    assert!(aegis.metrics().sum("aegis_bodies_spooled_bytes", &[]) == 0.0);
}

#[test]
fn it_is_live_and_named_by_explain() {
    let origin = Origin::start(demo::answer);
    let mut aegis = spooling(&origin).start();
    aegis.rewrite(|config| {
        config.set("sites[0].waf.body_mode", "hold");
    });
    let asked = eventually(
        "the edit is live: the origin hears of a blocked upload",
        || {
            let blocked = upload(&aegis, "/up", bytes(200 << 10)).arg(&ATTACK).send();
            assert_eq!(blocked.status, 403);
            (origin.connections() > 0).then(|| origin.connections())
        },
    );
    aegis.rewrite(|config| {
        config.set("sites[0].waf.body_mode", "spool");
    });
    let socket = aegis.dir().join("admin.sock").display().to_string();
    eventually("explain names it", || {
        let output = command(&["explain", "http://a/", "-o", "json", "--socket", &socket]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mode = &said["values"]["waf.body_mode"];
        let from = mode["from"].as_str().unwrap_or_default();
        (mode["value"] == "spool" && from.starts_with("sites[0].waf")).then_some(())
    });
    let before = origin.connections();
    assert!(before >= asked);
    let blocked = upload(&aegis, "/up", bytes(200 << 10)).arg(&ATTACK).send();
    assert_eq!((blocked.status, origin.connections()), (403, before));
}

#[test]
fn nothing_is_on_disk_after_a_kill_in_the_middle() {
    let origin = Origin::start(demo::answer);
    let mut aegis = spooling(&origin).start();
    let mut client = aegis.raw();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n");
    client.send(vec![b'x'; 5_000_000]);
    eventually("a part of it is on disk", || {
        (aegis.metrics().sum("aegis_bodies_spooled_bytes", &[]) > 3e6).then_some(())
    });
    let entries = |aegis: &Aegis| {
        let dir = aegis.dir().join("state/spool");
        fs::read_dir(dir).unwrap().count()
    };
    assert_eq!(entries(&aegis), 0, "it has no name");
    aegis.restart(|_| {});
    assert_eq!(entries(&aegis), 0);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_finds_no_room_on_disk_is_explained() {
    let origin = Origin::start(demo::answer);
    let aegis = spooling(&origin)
        .set("node.bodies_spooled_max", "4MiB")
        .set("sites[0].waf.held_max", "4MiB")
        .start();
    let mut client = aegis.raw();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
    client.send(vec![b'x'; 3_500_000]);
    eventually("a part of it is on disk", || {
        (aegis.metrics().sum("aegis_bodies_spooled_bytes", &[]) > 3e6).then_some(())
    });
    let refused = upload(&aegis, "/up", bytes(3 << 20)).send();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(explained(&aegis, &refused).contains("node.bodies_spooled_max"));
    let bound = ["limit=\"node.bodies_spooled_max\""];
    assert!(aegis.metrics().sum("aegis_limit_hits_total", &bound) >= 1.0);
    assert_eq!(aegis.logged("/up")["error"], "bodies_spooled");
    assert_eq!(origin.connections(), 0);
}
