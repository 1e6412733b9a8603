//! Bans by hand: made, seen, acted upon, taken back, and kept over a restart, with the real binary and its commands.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::command_with;
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::Value;
use std::process::Output;

/// A client's address that is not the one everybody else has.
const CLIENT: &str = "127.0.0.7";

fn shop() -> (Origin, Aegis) {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .set("sites[0].hosts", serde_json::json!(["shop.test", "*"]))
        .start();
    (origin, aegis)
}

/// Runs a command of the operator at this node.
fn run(aegis: &Aegis, args: &[&str], env: &[(&str, &str)]) -> Output {
    let socket = aegis.dir().join("admin.sock").display().to_string();
    let args: Vec<&str> = args.iter().copied().chain(["--socket", &socket]).collect();
    command_with(&args, env)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs a command that works, and gives what it says.
fn ok(aegis: &Aegis, args: &[&str]) -> String {
    let output = run(aegis, args, &[]);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    said(&output)
}

fn fails(aegis: &Aegis, args: &[&str], env: &[(&str, &str)], part: &str) {
    let output = run(aegis, args, env);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
    assert!(said(&output).contains(part), "{args:?}: {}", said(&output));
}

fn why(aegis: &Aegis, address: &str) -> Value {
    serde_json::from_str(&ok(aegis, &["why", address, "-o", "json"])).unwrap()
}

/// The status that the banned client gets; 0 = the connection was closed.
fn status(aegis: &Aegis) -> u16 {
    aegis.curl("/").arg(&["--interface", CLIENT]).send().status
}

#[test]
fn a_ban_of_the_node_closes_connections_and_refuses_requests_until_it_is_taken_back() {
    let (origin, aegis) = shop();
    let mut standing = aegis.raw_from(CLIENT.parse().unwrap());
    assert_eq!(standing.get("shop.test", "/").status(), 200);
    let made = ok(
        &aegis,
        &[
            "ban", CLIENT, "--for", "10m", "--reason", "scans", "--force",
        ],
    );
    assert!(
        made.contains("banned 127.0.0.7 on every site, until"),
        "{made}"
    );
    assert_eq!(standing.get("shop.test", "/").status(), 403);
    assert_eq!(status(&aegis), 0);
    assert_eq!(aegis.get("/").status, 200);
    let text = ok(&aegis, &["why", CLIENT]);
    for part in [
        "is banned on every site",
        "scans",
        "by      operator",
        "2 refused",
        "aegis unban 127.0.0.7",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let line = aegis.access_log_of(|line| line["error"] == "banned" && line["status"] == 403);
    let id = line["id"].as_str().unwrap();
    let explained = ok(&aegis, &["explain", id]);
    assert!(
        explained.contains("403 Banned") && explained.contains("scans"),
        "{explained}"
    );
    let metrics = aegis.metrics();
    assert_eq!(metrics.sum("aegis_requests_banned_total", &[]), 1.0);
    assert_eq!(
        metrics.sum("aegis_connections_refused_total", &[r#"reason="banned""#]),
        1.0
    );
    assert_eq!(
        metrics.sum(
            "aegis_verdicts_made_total",
            &[r#"author="operator""#, r#"result="made""#]
        ),
        1.0
    );
    let list: Value =
        serde_json::from_str(&ok(&aegis, &["verdicts", "list", "-o", "json"])).unwrap();
    assert_eq!(list["verdicts"][0]["prefix"], CLIENT);
    let undone = ok(&aegis, &["unban", CLIENT]);
    assert!(undone.contains("no longer banned: 127.0.0.7"), "{undone}");
    assert_eq!(status(&aegis), 200);
    assert_eq!(origin.hits("/"), 3);
}

#[test]
fn a_ban_of_a_site_gets_a_page_and_ends_by_itself() {
    let (_origin, aegis) = shop();
    ok(
        &aegis,
        &[
            "ban",
            CLIENT,
            "--for",
            "1s",
            "--site",
            "shop.test",
            "--force",
        ],
    );
    let refused = aegis
        .curl("/")
        .arg(&["--interface", CLIENT])
        .header("Accept: text/html")
        .send();
    // A second may be over on a busy machine.
    if refused.status == 403 {
        assert!(
            refused
                .text()
                .contains("Your address may not use this site"),
            "{}",
            refused.text()
        );
    }
    eventually("the ban ends", || (status(&aegis) == 200).then_some(()));
    assert!(
        why(&aegis, CLIENT)["verdicts"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    eventually("it is swept out", || {
        (aegis.metrics().sum("aegis_verdicts", &[]) == 0.0).then_some(())
    });
}

#[test]
fn bans_are_there_again_after_an_orderly_stop_and_after_a_kill() {
    let (_origin, mut aegis) = shop();
    ok(&aegis, &["ban", CLIENT, "--for", "ever", "--force"]);
    ok(&aegis, &["ban", "203.0.113.0/24", "--site", "shop.test"]);
    ok(&aegis, &["allow", "203.0.113.9"]);
    aegis.restart(|_| {});
    aegis.wait_ready();
    assert_eq!(status(&aegis), 0);
    ok(&aegis, &["unban", "203.0.113.0/24"]);
    aegis.restart_orderly();
    aegis.wait_ready();
    assert_eq!(status(&aegis), 0);
    assert_eq!(why(&aegis, "203.0.113.9")["verdicts"][0]["kind"], "allow");
    assert!(
        why(&aegis, "203.0.113.8")["verdicts"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn garbage_among_what_is_kept_costs_the_garbage() {
    let (_origin, mut aegis) = shop();
    ok(&aegis, &["ban", CLIENT, "--for", "ever", "--force"]);
    aegis.restart(|dir| {
        let journal = dir.join("state/verdicts/journal");
        let mut bytes = std::fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[7; 100]);
        std::fs::write(&journal, bytes).unwrap();
    });
    aegis.wait_ready();
    assert_eq!(status(&aegis), 0);
    assert!(
        aegis.output().contains("the journal is damaged from byte"),
        "{}",
        aegis.output()
    );
    assert!(aegis.dir().join("state/verdicts/journal.damaged").exists());
    aegis.restart(|dir| std::fs::write(dir.join("state/verdicts/snapshot"), [0xff; 999]).unwrap());
    aegis.wait_ready();
    assert!(
        aegis.output().contains("these are not Aegis verdicts"),
        "{}",
        aegis.output()
    );
    ok(&aegis, &["ban", CLIENT, "--force"]);
    assert_eq!(status(&aegis), 0);
}

#[test]
fn a_ban_that_would_hit_its_author_or_the_node_is_refused_unless_forced() {
    let (_origin, aegis) = shop();
    let from = [("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.1 22")];
    fails(
        &aegis,
        &["ban", "198.51.100.0/24"],
        &from,
        "covers 198.51.100.7, where you are connected from: narrow it, or add --force",
    );
    assert_eq!(
        run(&aegis, &["ban", "198.51.100.0/24", "--force"], &from)
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        run(&aegis, &["ban", "198.51.101.0/24"], &from)
            .status
            .code(),
        Some(0)
    );
    fails(
        &aegis,
        &["ban", "127.0.0.1"],
        &[],
        "would hit 127.0.0.0/8 (loopback)",
    );
    assert_eq!(why(&aegis, "127.0.0.1")["protected"]["what"], "loopback");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let (_origin, aegis) = shop();
    for (args, part) in [
        (
            &["ban", "nobody"][..],
            "\"nobody\" is not an address or prefix: write 192.0.2.7",
        ),
        (
            &["ban", "0.0.0.0/0"],
            "a prefix of 0 bits is outside 8..=32",
        ),
        (
            &["ban", "2001:db8::/16"],
            "a prefix of 16 bits is outside 32..=128",
        ),
        (&["ban", "203.0.113.9/24"], "write 203.0.113.0/24"),
        (&["ban", "203.0.113.9", "--for", "10"], "a unit is missing"),
        (
            &["ban", "203.0.113.9", "--for", "5000d"],
            "outside 1s to 3650d; or write `ever`",
        ),
        (
            &["ban", "203.0.113.9", "--site", "nope"],
            "there is no site `nope` here",
        ),
        (
            &["ban", "203.0.113.9", "--reason", "a\nb"],
            "the reason must be 1 to 256 bytes",
        ),
        (
            &["unban", "203.0.113.9"],
            "there is no ban or allow of 203.0.113.9",
        ),
        (
            &["verdicts", "list", "--in", "x"],
            "is not an address or prefix",
        ),
    ] {
        fails(&aegis, args, &[], part);
    }
    ok(&aegis, &["ban", "203.0.113.0/24"]);
    fails(
        &aegis,
        &["unban", "203.0.113.9"],
        &[],
        "but one of 203.0.113.0/24: unban that, or allow 203.0.113.9",
    );
    assert_eq!(run(&aegis, &["why", "x"], &[]).status.code(), Some(64));
}

/// A site with the WAF on behind a trusted proxy, and the rule everybody would begin with.
fn defended(rule: &Value) -> (Origin, Aegis) {
    let origin = Origin::start(|_| Reply::text("hello"));
    let aegis = Aegis::before(&origin)
        .waf()
        .set(
            "node.client.trusted_proxies",
            serde_json::json!(["127.0.0.0/8"]),
        )
        .set("node.verdicts.rules", serde_json::json!([rule]))
        .start();
    (origin, aegis)
}

fn ask(aegis: &Aegis, client: &str, target: &str) -> u16 {
    let curl = aegis.curl(target).header("User-Agent: Mozilla/5.0");
    curl.header(&format!("X-Forwarded-For: {client}"))
        .send()
        .status
}

const ATTACK: &str = "/?q=%27%20or%201%3D1--%20-";

#[test]
fn five_attacks_ban_for_ten_minutes_that_client_alone_and_never_below_http() {
    let rule =
        serde_json::json!({ "name": "waf", "fault": "waf_block", "count": 5, "window": "1h" });
    let (_origin, mut aegis) = defended(&rule);
    for _ in 0..4 {
        assert_eq!(ask(&aegis, "203.0.113.9", ATTACK), 403);
    }
    assert_eq!(ask(&aegis, "203.0.113.9", "/"), 200);
    assert_eq!(ask(&aegis, "203.0.113.9", ATTACK), 403);
    eventually("a ban", || {
        (ask(&aegis, "203.0.113.9", "/") == 403).then_some(())
    });
    assert_eq!(ask(&aegis, "203.0.113.8", "/"), 200);
    let why = why(&aegis, "203.0.113.9");
    let ban = &why["verdicts"][0];
    assert_eq!(
        ban["author"],
        serde_json::json!({ "kind": "rule", "name": "waf" })
    );
    assert_eq!(
        (&ban["reason"], &ban["site"]),
        (&"5 WAF blocks in 3600 s".into(), &"*".into())
    );
    // It was made of an address that somebody told: nothing but HTTP knows it.
    assert_eq!(ban["http_only"], true);
    let left = ban["seconds_left"].as_u64().unwrap();
    assert!((1..=600).contains(&left), "{left}");
    let request = ban["request"].as_str().unwrap();
    assert!(ok(&aegis, &["explain", request]).contains("403 Blocked"));
    assert_eq!(
        aegis.metrics().sum(
            "aegis_verdicts_made_total",
            &[r#"author="waf""#, r#"result="made""#]
        ),
        1.0
    );
    // Kept over a kill as what operators make is, at most a second later.
    eventually("it is on disk", || {
        let journal = std::fs::read(aegis.dir().join("state/verdicts/journal")).ok()?;
        journal
            .windows(9)
            .any(|part| part == &request.as_bytes()[..9])
            .then_some(())
    });
    aegis.restart(|_| {});
    aegis.wait_ready();
    assert_eq!(ask(&aegis, "203.0.113.9", "/"), 403);
    ok(&aegis, &["unban", "203.0.113.9"]);
    assert_eq!(ask(&aegis, "203.0.113.9", "/"), 200);
}

#[test]
fn an_ipv6_client_is_banned_with_its_network_and_an_operators_allow_goes_before_a_rule() {
    let rule =
        serde_json::json!({ "name": "waf", "fault": "waf_block", "count": 2, "window": "1h" });
    let (_origin, aegis) = defended(&rule);
    ok(&aegis, &["allow", "203.0.113.9"]);
    for client in ["2001:db8:1:2::7", "203.0.113.9"] {
        for _ in 0..3 {
            ask(&aegis, client, ATTACK);
        }
    }
    eventually("a ban", || {
        (ask(&aegis, "2001:db8:1:2::8", "/") == 403).then_some(())
    });
    assert_eq!(ask(&aegis, "2001:db8:1:3::7", "/"), 200);
    assert_eq!(ask(&aegis, "203.0.113.9", "/"), 200);
    fails(
        &aegis,
        &["unban", "2001:db8:1:2::7"],
        &[],
        "but one of 2001:db8:1:2::/64",
    );
    // A proxy that is trusted is never banned, whatever it passes on.
    for _ in 0..3 {
        aegis.curl(ATTACK).header("User-Agent: Mozilla/5.0").send();
    }
    assert_eq!(ask(&aegis, "203.0.113.8", "/"), 200);
    assert!(why(&aegis, "127.0.0.1")["protected"].is_object());
}
