//! The admin socket: who may change what, and that every try is written down.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::command_with;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::json;
use std::process::Output;

const OPS: &str = "0123456789abcdef0123";
const EYE: &str = "fedcba98765432100123";

fn guarded() -> (Origin, Aegis) {
    let origin = Origin::start(|_| Reply::text("hello"));
    let tokens = json!([
        { "name": "ops", "secret": "file:ops.token", "roles": ["ban"] },
        { "name": "eye", "secret": "file:eye.token", "roles": ["read"] },
    ]);
    let aegis = Aegis::before(&origin)
        .file("ops.token", format!("{OPS}\n"))
        .file("eye.token", EYE)
        .set("node.admin.tokens", tokens)
        .start();
    (origin, aegis)
}

fn run(aegis: &Aegis, args: &[&str], token: Option<&str>) -> Output {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--socket", &socket]).collect();
    let env: Vec<_> = token
        .map(|token| ("AEGIS_TOKEN", token))
        .into_iter()
        .collect();
    command_with(&args, &env)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_change_needs_a_token_with_the_role_and_each_try_is_written_down() {
    let (_origin, mut aegis) = guarded();
    let ban = ["ban", "203.0.113.9"];
    let none = run(&aegis, &ban, None);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        said(&none).contains("set AEGIS_TOKEN, or give --token-file"),
        "{}",
        said(&none)
    );
    let other = run(&aegis, &ban, Some("hunter2hunter2hunter2"));
    assert!(
        said(&other).contains("none of node.admin.tokens"),
        "{}",
        said(&other)
    );
    let reader = run(&aegis, &ban, Some(EYE));
    assert!(
        said(&reader).contains("`eye` does not have the role `ban`"),
        "{}",
        said(&reader)
    );
    let file = aegis.dir().join("ops.token").display().to_string();
    let done = run(&aegis, &["ban", "203.0.113.9", "--token-file", &file], None);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!(
        run(&aegis, &["why", "203.0.113.9"], Some(EYE))
            .status
            .code(),
        Some(0)
    );
    // Whoever runs Aegis may read without one.
    assert_eq!(run(&aegis, &["status"], None).status.code(), Some(0));
    assert_eq!(
        aegis.admin("/why?ip=203.0.113.9")["verdicts"][0]["author"]["name"],
        "ops"
    );
    let output = aegis.output();
    for part in [
        "denied",
        "who=\"ops\"",
        "detail=\"ban 203.0.113.9 for 1d: by hand",
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    for secret in [OPS, EYE, "hunter2"] {
        assert!(!output.contains(secret), "{output}");
    }
    let metrics = aegis.metrics();
    let writes = |result: &str| {
        metrics.sum(
            "aegis_admin_writes_total",
            &[r#"what="ban""#, &format!("result=\"{result}\"")],
        )
    };
    assert_eq!((writes("denied"), writes("done")), (3.0, 1.0));
    let events = aegis.admin("/events?recent=100").to_string();
    assert!(
        events.contains("\"audit\"") && !events.contains(OPS),
        "{events}"
    );
    // Tokens are live: without them the user that runs Aegis may change again.
    aegis.rewrite(|config| {
        config.remove("node.admin.tokens");
    });
    eventually("the tokens are gone", || {
        (run(&aegis, &["unban", "203.0.113.9"], None).status.code() == Some(0)).then_some(())
    });
}

#[test]
fn a_token_that_is_too_short_is_refused_before_anything_starts() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let tokens = json!([{ "name": "ops", "secret": "file:ops.token", "roles": ["ban"] }]);
    let output = Aegis::before(&origin)
        .file("ops.token", "hunter2")
        .set("node.admin.tokens", tokens)
        .check();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("the secret has 7 bytes; 16 to 4096 are wanted"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_loopback_address_changes_nothing_and_a_rebound_name_reaches_nothing() {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin).start();
    let metrics = aegis.metrics_address();
    let post = |host: &str, path: &str| {
        aegis_testkit::curl::Curl::get(format!("http://{metrics}{path}"))
            .arg(&["-X", "POST"])
            .header(&format!("Host: {host}"))
            .header("Content-Type: application/json")
            .body(r#"{"prefix":"203.0.113.9"}"#)
            .send()
            .status
    };
    assert_eq!(post("localhost", "/ban"), 405);
    assert_eq!(post("evil.example", "/ban"), 421);
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let over_socket = |host: &str, kind: &str| {
        aegis_testkit::curl::Curl::get("http://localhost/ban")
            .arg(&["--unix-socket", &socket])
            .header(&format!("Host: {host}"))
            .header(&format!("Content-Type: {kind}"))
            .body(r#"{"prefix":"203.0.113.9"}"#)
            .send()
            .status
    };
    assert_eq!(over_socket("evil.example", "application/json"), 421);
    assert_eq!(over_socket("localhost", "text/plain"), 415);
    assert_eq!(over_socket("localhost", "application/json"), 200);
}
