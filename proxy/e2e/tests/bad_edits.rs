//! Wrong edits of the live file: refused with the reason and its place, nothing of them is taken, and what is in flight
//! ends as it began.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::certs::{Authority, Pair, served_subject};
use aegis_testkit::{Aegis, Config, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;

fn respond(text: &str) -> Value {
    json!([{ "match": { "path": "/" }, "respond": { "body": text } }])
}

fn certificate(cert: &str, key: &str) -> Value {
    json!([{ "cert": cert, "key": format!("file:{key}") }])
}

/// A wrong edit.
struct Edit {
    what: &'static str,
    /// The key and its wrong value.
    set: (&'static str, Value),
    /// A line of the written file that the refusal points at; none = it names another file instead.
    line: Option<&'static str>,
    /// Parts of the reason.
    says: &'static [&'static str],
}

fn edits() -> Vec<Edit> {
    let edit = |what, key, value, line, says| Edit {
        what,
        set: (key, value),
        line,
        says,
    };
    vec![
        edit(
            "wrong type",
            "sites[0].waf.paranoia",
            json!("high"),
            Some("\"paranoia\": \"high\""),
            &["sites[0].waf.paranoia", "number"],
        ),
        edit(
            "a list where a map belongs",
            "pools",
            json!(["10.0.0.1:80"]),
            Some("\"pools\": ["),
            &["pools"],
        ),
        edit(
            "out of bounds",
            "sites[0].waf.paranoia",
            json!(9),
            Some("\"paranoia\": 9"),
            &["sites[0].waf.paranoia", "1 to 4"],
        ),
        edit(
            "a time out of bounds",
            "node.shutdown.grace",
            json!("2h"),
            Some("\"grace\": \"2h\""),
            &["node.shutdown.grace", "1h"],
        ),
        edit(
            "duplicate host",
            "sites[1]",
            json!({ "hosts": ["twice.test", "Twice.test"], "origin": "http://127.0.0.1:1" }),
            Some("\"Twice.test\""),
            &["twice.test"],
        ),
        edit(
            "missing certificate",
            "certificates",
            certificate("gone.pem", "good.key"),
            Some("\"cert\": \"gone.pem\""),
            &["certificates[0].cert", "gone.pem"],
        ),
        edit(
            "missing rules",
            "sites[0].waf",
            json!({ "mode": "off", "seclang": ["gone.conf"] }),
            Some("\"gone.conf\""),
            &["seclang", "gone.conf"],
        ),
        edit(
            "missing rules before the core rule set",
            "sites[0].waf",
            json!({ "mode": "off", "seclang_before": ["gone.conf"] }),
            Some("\"gone.conf\""),
            &["seclang_before[0]", "gone.conf"],
        ),
        edit(
            "missing module",
            "plugins.gone.module",
            json!("gone.wasm"),
            Some("\"module\": \"gone.wasm\""),
            &["plugins.gone.module", "gone.wasm"],
        ),
        edit(
            "expired certificate",
            "certificates",
            certificate("expired.pem", "expired.key"),
            None,
            &["certificates[0]", "expired.pem", "expired on"],
        ),
        edit(
            "mismatched key",
            "certificates",
            certificate("good.pem", "expired.key"),
            None,
            &[
                "certificates[0]",
                "expired.key",
                "does not belong to the certificate",
                "good.pem",
            ],
        ),
        edit(
            "unknown pool",
            "sites[0].origin",
            json!("nowhere"),
            Some("\"origin\": \"nowhere\""),
            &["sites[0].origin", "nowhere"],
        ),
        edit(
            "unknown pool of a route",
            "sites[0].routes[1]",
            json!({ "match": { "path": "/api/*" }, "origin": "elsewhere" }),
            Some("\"origin\": \"elsewhere\""),
            &["sites[0].routes[1].origin", "elsewhere"],
        ),
        edit(
            "unknown plugin",
            "sites[0].plugins",
            json!(["nobody"]),
            Some("\"nobody\""),
            &["sites[0].plugins[0]", "nobody"],
        ),
    ]
}

fn copy(pair: &Pair, dir: &std::path::Path, name: &str) {
    fs::copy(&pair.cert, dir.join(format!("{name}.pem"))).unwrap();
    fs::copy(&pair.key, dir.join(format!("{name}.key"))).unwrap();
}

fn rejections(aegis: &Aegis) -> f64 {
    aegis.metrics().sum("aegis_config_rejected_total", &[])
}

/// Puts the settings in place and gives the reasons of their refusal.
fn refused(aegis: &Aegis, what: &str, text: &str) -> String {
    let before = rejections(aegis);
    aegis.replace_config(text.as_bytes());
    eventually(format!("{what} is counted as a refusal"), || {
        (rejections(aegis) > before).then_some(())
    });
    let last = &aegis.admin("/status")["config"]["last_try"];
    assert_eq!(last["result"], "rejected", "{what}");
    let problems = last["problems"].as_array().unwrap();
    let problems: Vec<&str> = problems.iter().filter_map(Value::as_str).collect();
    problems.join("\n")
}

/// `aegis.yaml:LINE:`, where LINE is the first one that holds this.
fn place(text: &str, part: &str) -> String {
    let mut lines = (1..).zip(text.lines());
    let (number, _) = lines.find(|(_, line)| line.contains(part)).unwrap();
    format!("aegis.yaml:{number}:")
}

#[test]
fn each_wrong_edit_is_refused_with_its_place_and_nothing_of_it_is_taken() {
    let (origin, authority) = (Origin::start(|_| Reply::text("origin")), Authority::new());
    let builder = Aegis::before(&origin)
        .set("sites[0].routes", respond("one"))
        .set("certificates", certificate("good.pem", "good.key"));
    copy(&authority.issue(&["good.test"]), builder.dir(), "good");
    copy(
        &authority.issue_expired(&["good.test"]),
        builder.dir(),
        "expired",
    );
    let good = builder.config().clone();
    let aegis = builder.start();
    let live = aegis.admin("/status")["config"]["live"].clone();
    for Edit {
        what,
        set: (key, value),
        line,
        says,
    } in edits()
    {
        let mut wrong = good.clone();
        // Beside it a change that is right: it must not be taken either.
        wrong.set("sites[0].routes", respond("two")).set(key, value);
        let text = wrong.to_string();
        let problems = refused(&aegis, what, &text);
        let place = line.map(|line| place(&text, line));
        for part in says.iter().copied().chain(place.as_deref()) {
            assert!(
                problems.contains(part),
                "{what}: no “{part}” in: {problems}"
            );
        }
        aegis.process().wait_for_line(says.last().unwrap());
        assert_eq!(aegis.get("/").text(), "one", "{what}");
        assert_eq!(aegis.get("/origin").text(), "origin", "{what}");
        assert_eq!(aegis.admin("/status")["config"]["live"], live, "{what}");
        assert_eq!(
            served_subject(aegis.tls(), "good.test"),
            "good.test",
            "{what}"
        );
    }
    let mut mended = good.clone();
    mended.set("sites[0].routes", respond("two"));
    aegis.replace_config(mended.to_string().as_bytes());
    eventually("the mended file is live", || {
        (aegis.get("/").text() == "two").then_some(())
    });
    assert_eq!(aegis.admin("/status")["config"]["last_try"]["result"], "ok");
}

const HALF: usize = 64 * 1024;

/// An origin that sends half of each answer, and the other half after the barrier has been passed.
fn holding(halfway: Arc<Barrier>, go_on: Arc<Barrier>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (halfway, go_on) = (halfway.clone(), go_on.clone());
            thread::spawn(move || {
                let mut client: TcpStream = client.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte).unwrap();
                    head.extend(byte);
                }
                let length = 2 * HALF;
                write!(
                    client,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
                client.write_all(&[b'1'; HALF]).unwrap();
                halfway.wait();
                go_on.wait();
                client.write_all(&[b'2'; HALF]).unwrap();
            });
        }
    });
    address
}

/// Changes the settings and waits until they are in force.
fn goes_live(aegis: &Aegis, settings: &Config, is_live: impl Fn() -> bool) {
    aegis.replace_config(settings.to_string().as_bytes());
    eventually(format!("live; {}", aegis.output()), || {
        is_live().then_some(())
    });
}

#[test]
fn a_request_in_flight_is_whole_after_a_bad_edit_and_a_good_one() {
    let (halfway, go_on) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    let old = holding(halfway.clone(), go_on.clone());
    let new = Origin::start(|_| Reply::text("new"));
    let builder = Aegis::before_url(&format!("http://{old}"));
    let good = builder.config().clone();
    let aegis = builder.start();
    let requests = [
        aegis.curl("/held").http1(),
        aegis.curl_tls("held.test", "/held").http2(),
    ];
    let in_flight = requests.map(|request| thread::spawn(move || request.send()));
    halfway.wait();

    let mut wrong = good.clone();
    wrong
        .set("sites[0].origin", new.url())
        .set("sites[0].waf.paranoia", 9);
    refused(&aegis, "the bad edit", &wrong.to_string());
    // The pool of the requests in flight is no longer in the settings, and their certificate is another.
    let authority = Authority::new();
    copy(&authority.issue(&["new.test"]), aegis.dir(), "new");
    let mut other = good.clone();
    other
        .set("sites[0].origin", new.url())
        .set("certificates", certificate("new.pem", "new.key"));
    goes_live(&aegis, &other, || {
        aegis.admin("/status")["config"]["last_try"]["result"] == "ok"
    });
    assert_eq!(aegis.get("/held").text(), "new");
    assert_eq!(served_subject(aegis.tls(), "new.test"), "new.test");

    go_on.wait();
    let whole = [[b'1'; HALF], [b'2'; HALF]].concat();
    for (request, version) in in_flight.into_iter().zip(["1.1", "2"]) {
        let answer = request.join().unwrap();
        assert_eq!(
            (answer.status, answer.version.as_str(), answer.exit),
            (200, version, 0),
            "{}",
            answer.error
        );
        assert!(answer.body == whole, "{} bytes", answer.body.len());
    }
}
