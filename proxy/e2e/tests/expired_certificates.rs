//! A certificate whose time is over keeps nobody without a site, and is not newly taken either.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::certs::{Authority, Pair, served_subject};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use serde_json::{Value, json};
use std::fs;

fn hello() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

fn certificate(pair: &Pair) -> Value {
    json!([{ "cert": pair.cert, "key": format!("file:{}", pair.key.display()) }])
}

/// Waits until so many generations of last known good are kept, the newest first.
fn kept(aegis: &Aegis, count: usize) -> Vec<std::path::PathBuf> {
    let folder = aegis.dir().join("state/lkg");
    eventually("they are kept", || {
        let index: Value =
            serde_json::from_slice(&fs::read(folder.join("index.json")).ok()?).ok()?;
        let names = index["generations"].as_array()?;
        let paths = names.iter().map(|name| folder.join(name.as_str().unwrap()));
        (names.len() == count).then(|| paths.collect())
    })
}

#[test]
fn a_start_serves_an_expired_certificate_loudly() {
    let (origin, authority) = (hello(), Authority::new());
    let expired = authority.issue_expired(&["over.test"]);
    let builder = Aegis::before(&origin).set("certificates", certificate(&expired));
    let mut aegis = builder.start();
    assert_eq!(served_subject(aegis.tls(), "over.test"), "over.test");
    let said = eventually("it is said", || {
        Some(aegis.output()).filter(|said| said.contains("SERVED ALL THE SAME"))
    });
    assert!(
        said.contains("ERROR") && said.contains("expired on") && said.contains("renew it"),
        "{said}"
    );
    assert_eq!(
        aegis.metrics().sum("aegis_certificates_out_of_time", &[]),
        1.0
    );
    assert_eq!(aegis.admin("/status")["config"]["live"]["from"], "file");

    // An edit of something else does not fail by it.
    aegis.rewrite(|c| {
        c.set(
            "sites[0].routes",
            json!([{ "match": { "path": "/new" }, "respond": { "body": "new" } }]),
        );
    });
    eventually("the edit is live", || {
        (aegis.get("/new").text() == "new").then_some(())
    });
    assert_eq!(served_subject(aegis.tls(), "over.test"), "over.test");
}

#[test]
fn an_edit_that_brings_an_expired_certificate_is_refused() {
    let (origin, authority) = (hello(), Authority::new());
    let (good, expired) = (
        authority.issue(&["good.test"]),
        authority.issue_expired(&["over.test"]),
    );
    let mut aegis = Aegis::before(&origin)
        .set("certificates", certificate(&good))
        .start();
    aegis.rewrite(|c| {
        c.set("certificates", certificate(&expired));
    });
    eventually("it is refused", || {
        let problems = aegis.admin("/status")["config"]["last_try"]["problems"].to_string();
        (problems.contains("certificates[0].cert") && problems.contains("expired on")).then_some(())
    });
    assert_eq!(served_subject(aegis.tls(), "x.test"), "good.test");
    assert_eq!(
        aegis.metrics().sum("aegis_certificates_out_of_time", &[]),
        0.0
    );
}

#[test]
fn a_check_says_it() {
    let (origin, authority) = (hello(), Authority::new());
    let expired = authority.issue_expired(&["over.test"]);
    let checked = Aegis::before(&origin)
        .set("certificates", certificate(&expired))
        .check();
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("certificates[0].cert") && said.contains("expired on"),
        "{said}"
    );
}

#[test]
fn last_known_good_starts_with_what_has_ended_since() {
    let (origin, authority) = (hello(), Authority::new());
    let expired = authority.issue_expired(&["over.test"]);
    let mut aegis = Aegis::before(&origin)
        .set("certificates", certificate(&expired))
        .start();
    kept(&aegis, 1);
    aegis.restart(|dir| fs::write(dir.join("aegis.yaml"), "version: [").unwrap());
    aegis.wait_ready();
    assert_eq!(served_subject(aegis.tls(), "over.test"), "over.test");
    assert_eq!(
        aegis.admin("/status")["config"]["live"]["from"],
        "last-known-good"
    );
}

#[test]
fn a_start_from_an_older_generation_says_which_and_why() {
    let origin = hello();
    let mut aegis = Aegis::before(&origin).start();
    aegis.rewrite(|c| {
        c.set(
            "sites[0].routes",
            json!([{ "match": { "path": "/new" }, "respond": { "body": "new" } }]),
        );
    });
    eventually("the edit is live", || {
        (aegis.get("/new").text() == "new").then_some(())
    });
    let kept = kept(&aegis, 2);
    aegis.restart(|dir| {
        fs::write(dir.join("aegis.yaml"), "version: [").unwrap();
        fs::write(kept[0].join("manifest.json"), "{}").unwrap();
    });
    aegis.wait_ready();
    assert_eq!(aegis.get("/new").text(), "hello", "the one before");
    let warnings = aegis.admin("/status")["config"].to_string();
    assert!(
        warnings.contains("not the newest")
            && warnings.contains("does not have the hash it is named by"),
        "{warnings}"
    );
    let said = aegis.output();
    assert!(
        said.contains("cannot be used: last good settings in"),
        "{said}"
    );
}
