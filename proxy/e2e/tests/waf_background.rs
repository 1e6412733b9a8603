//! Rules and modules that change while serving are made ready in the background: the old ones judge meanwhile, and stay
//! when the new ones are broken.
#![allow(clippy::unwrap_used, reason = "helpers of tests end them")]

use aegis_testkit::aegis::Builder;
use aegis_testkit::{Aegis, Answer, Origin, Reply, wait};
use e2e::wasm::{ANSWER, Guest, busy};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Configuring the Core Rule Set takes seconds on two busy cores.
const PATIENCE: Duration = Duration::from_secs(90);

fn origin() -> Origin {
    Origin::start(|_| Reply::text("origin").header("cache-control", "no-store"))
}

/// Puts a file in place by rename, as editors do.
fn replace(aegis: &Aegis, name: &str, content: impl AsRef<[u8]>) {
    let new = aegis.dir().join(format!("{name}.new"));
    fs::write(&new, content).unwrap();
    fs::rename(new, aegis.dir().join(name)).unwrap();
}

fn config(aegis: &Aegis) -> Value {
    aegis.admin("/status")["config"].clone()
}

/// Waits until `/status` says that something is being prepared.
fn is_preparing(aegis: &Aegis) -> Value {
    wait::within(PATIENCE, "it prepares", || {
        let preparing = config(aegis)["preparing"].clone();
        preparing.is_object().then_some(preparing)
    })
}

/// What `ask` gives while the new settings are still being prepared, asserted before and after.
fn meanwhile<T>(aegis: &Aegis, ask: impl FnOnce() -> T) -> T {
    let before = is_preparing(aegis);
    let got = ask();
    let after = config(aegis);
    assert_eq!(
        after["preparing"]["id"], before["id"],
        "ready before it was asked: {after}"
    );
    got
}

/// Waits until nothing is being prepared; gives the problems of the last try.
fn ended(aegis: &Aegis) -> Vec<String> {
    let last = wait::within(PATIENCE, "the preparation ends", || {
        let config = config(aegis);
        config["preparing"]
            .is_null()
            .then(|| config["last_try"].clone())
    });
    let problems = last["problems"].as_array().unwrap().iter();
    problems.map(|p| p.as_str().unwrap().to_owned()).collect()
}

/// Rules that never match, so many that compiling them takes a while on any machine.
fn filling() -> String {
    let rule = |n: u32| {
        format!(
            "SecRule ARGS:never{n} \"@rx ^(?:a|b{n}){{3,9}}[c-x]+z$\" \"id:{},phase:2,pass,nolog\"\n",
            2_000_000 + n
        )
    };
    (0..4000).map(rule).collect()
}

/// Own rules, among them one that blocks a colour.
fn rules(id: u32, colour: &str) -> String {
    format!(
        "{}SecRule ARGS:colour \"@streq {colour}\" \"id:{id},phase:2,deny,status:403,log,msg:'no {colour}'\"\n",
        filling()
    )
}

fn colour(aegis: &Aegis, colour: &str) -> Answer {
    let curl = aegis.curl(&format!("/?colour={colour}"));
    curl.header("User-Agent: Mozilla/5.0")
        .header("Accept: */*")
        .send()
}

fn statuses(aegis: &Aegis) -> [u16; 3] {
    ["mauve", "teal", "1%27%20UNION%20SELECT%20a%20FROM%20b--%20"]
        .map(|value| colour(aegis, value).status)
}

#[test]
fn edited_rules_are_made_ready_while_the_old_ones_judge_and_broken_ones_are_refused() {
    let origin = origin();
    let aegis = Aegis::before(&origin)
        .file("own.conf", rules(1_000_001, "mauve"))
        .set("sites[0].waf", json!({ "seclang": ["own.conf"] }))
        .start();
    assert_eq!(statuses(&aegis), [403, 200, 403]);
    let first = config(&aegis)["live"]["id"].clone();

    replace(&aegis, "own.conf", rules(1_000_002, "teal"));
    assert_eq!(meanwhile(&aegis, || statuses(&aegis)), [403, 200, 403]);
    assert_eq!(ended(&aegis), [""; 0]);
    let second = config(&aegis)["live"]["id"].clone();
    assert_ne!(second, first);
    assert_eq!(statuses(&aegis), [200, 403, 403]);
    let blocked = colour(&aegis, "teal");
    let id = blocked.header("x-request-id");
    let event = aegis.admin(&format!("/events?request={id}")).to_string();
    assert!(
        event.contains("1000002") && event.contains("no teal"),
        "{event}"
    );

    let before = aegis.metrics().sum("aegis_config_rejected_total", &[]);
    let broken = format!(
        "{}SecRule ARGS \"@rx (\" \"id:1000003,deny\"\n",
        rules(1_000_002, "mauve")
    );
    let place = format!("own.conf:{}:", broken.lines().count());
    replace(&aegis, "own.conf", broken);
    assert_eq!(meanwhile(&aegis, || statuses(&aegis)), [200, 403, 403]);
    let problems = ended(&aegis).join("\n");
    assert!(
        problems.contains(&place) && problems.contains("missing closing )"),
        "no {place} in: {problems}"
    );
    assert!(aegis.metrics().sum("aegis_config_rejected_total", &[]) > before);
    assert_eq!(config(&aegis)["live"]["id"], second);
    assert_eq!(statuses(&aegis), [200, 403, 403]);
}

/// A module that answers with a word of six letters, and takes seconds to configure.
fn saying(word: &str) -> Vec<u8> {
    assert_eq!(word.len(), 6);
    let slow = format!("(drop (block (result i32) {})) i32.const 1", busy(2000));
    Guest {
        more: &format!("(data (i32.const 16) \"{word}\")"),
        configure: &slow,
        request: ANSWER,
    }
    .build()
}

fn with(builder: Builder, module: Vec<u8>) -> Builder {
    builder
        .file("own.wasm", module)
        .set("plugins.own.module", "own.wasm")
        .set("sites[0].plugins", json!(["own"]))
}

#[test]
fn a_changed_module_is_made_ready_while_the_old_one_answers_and_a_broken_one_is_refused() {
    let origin = origin();
    let aegis = with(Aegis::before(&origin), saying("former")).start();
    assert_eq!(aegis.get("/").text(), "former");

    replace(&aegis, "own.wasm", saying("latter"));
    assert_eq!(meanwhile(&aegis, || aegis.get("/").text()), "former");
    assert_eq!(ended(&aegis), [""; 0]);
    assert_eq!(aegis.get("/").text(), "latter");

    let trap = Guest {
        configure: "unreachable",
        ..Guest::default()
    };
    for (what, module) in [
        ("a trap at configure", trap.build()),
        ("no Wasm", b"#!/bin/sh\n".to_vec()),
        ("half a module", saying("halved")[..200].to_vec()),
    ] {
        let before = aegis.metrics().sum("aegis_config_rejected_total", &[]);
        replace(&aegis, "own.wasm", module);
        wait::within(PATIENCE, format!("{what} is refused"), || {
            (aegis.metrics().sum("aegis_config_rejected_total", &[]) > before).then_some(())
        });
        let problems = ended(&aegis).join("\n");
        assert!(problems.contains("own"), "{what}: {problems}");
        assert_eq!(aegis.get("/").text(), "latter", "{what}");
    }
    assert!(
        origin.requests().is_empty(),
        "no request passed the module by"
    );
}
