//! Settings that change while serving: however the file is replaced, and whatever is in it.

use aegis_testkit::process::Signal;
use aegis_testkit::{Aegis, Origin, Reply, eventually, wait};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

/// An Aegis that answers `/` itself, with this text.
fn saying(origin: &Origin, text: &str) -> aegis_testkit::aegis::Builder {
    Aegis::before(origin).set("sites[0].routes", respond(text))
}

fn respond(text: &str) -> serde_json::Value {
    json!([{ "match": { "path": "/" }, "respond": { "body": text } }])
}

fn origin() -> Origin {
    Origin::start(|_| Reply::text("origin").after(Duration::from_secs(1)))
}

fn says(aegis: &Aegis, text: &str) {
    eventually(format!("it says {text}; {}", aegis.output()), || {
        (aegis.get("/").text() == text).then_some(())
    });
}

fn rejections(aegis: &Aegis) -> f64 {
    aegis.metrics().sum("aegis_config_rejected_total", &[])
}

/// Puts bytes in place and waits until they are refused; the old settings must still serve.
fn is_refused(aegis: &Aegis, bytes: &[u8], why: &str) {
    let before = rejections(aegis);
    aegis.replace_config(bytes);
    eventually(format!("refused: {why}"), || {
        (rejections(aegis) > before).then_some(())
    });
    let problems = aegis.admin("/status")["config"]["last_try"]["problems"].to_string();
    assert!(problems.contains(why), "{problems}");
    assert_eq!(aegis.get("/").text(), "one");
}

#[test]
fn a_file_renamed_into_place_is_live_within_a_second() {
    let origin = origin();
    let mut aegis = saying(&origin, "one").start();
    says(&aegis, "one");
    aegis.rewrite(|c| {
        c.set("sites[0].routes", respond("two"));
    });
    let live = wait::try_within(Duration::from_secs(1), || {
        (aegis.get("/").text() == "two").then_some(())
    });
    assert!(live.is_some(), "{}", aegis.output());
}

#[test]
fn a_config_map_that_swaps_its_link_is_followed() {
    let origin = origin();
    let aegis = saying(&origin, "one").written();
    let text = fs::read_to_string(aegis.config_path()).unwrap();
    let dir = aegis.dir().to_path_buf();
    // As the kubelet lays it: aegis.yaml → ..data/aegis.yaml, ..data → a folder that is replaced whole.
    for (folder, says) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(dir.join(folder)).unwrap();
        fs::write(
            dir.join(folder).join("aegis.yaml"),
            absolute(&text, &dir).replace("\"one\"", &format!("\"{says}\"")),
        )
        .unwrap();
    }
    symlink("..1", dir.join("..data")).unwrap();
    fs::remove_file(aegis.config_path()).unwrap();
    symlink("..data/aegis.yaml", aegis.config_path()).unwrap();
    let aegis = aegis.spawn_as_is();
    aegis.wait_ready();
    says(&aegis, "one");
    symlink("..2", dir.join("..new")).unwrap();
    fs::rename(dir.join("..new"), dir.join("..data")).unwrap();
    says(&aegis, "two");
}

/// Relative paths are relative to the real file, which a ConfigMap moves about.
fn absolute(text: &str, dir: &std::path::Path) -> String {
    ["state", "admin.sock", "access.log"]
        .iter()
        .fold(text.to_owned(), |text, name| {
            text.replace(
                &format!("\"{name}\""),
                &format!("\"{}\"", dir.join(name).display()),
            )
        })
}

#[test]
fn sighup_reads_the_file_again() {
    let origin = origin();
    let aegis = saying(&origin, "one").start();
    aegis.process().signal(Signal::HUP);
    let text = fs::read_to_string(aegis.config_path())
        .unwrap()
        .replace("\"one\"", "\"two\"");
    fs::write(aegis.config_path(), text).unwrap();
    aegis.process().signal(Signal::HUP);
    says(&aegis, "two");
}

#[test]
fn a_file_half_written_is_refused_and_taken_when_it_is_whole() {
    let origin = origin();
    let aegis = saying(&origin, "one").start();
    let text = fs::read_to_string(aegis.config_path()).unwrap();
    is_refused(&aegis, &text.as_bytes()[..text.len() / 2], "");
    aegis.replace_config(text.replace("\"one\"", "\"two\"").as_bytes());
    says(&aegis, "two");
}

#[test]
fn an_empty_file_and_one_twice_the_limit_are_refused() {
    let origin = origin();
    let aegis = saying(&origin, "one").start();
    is_refused(&aegis, b"", "");
    let mut large = fs::read(aegis.dir().join("aegis.yaml")).unwrap();
    large.resize(2 << 20, b'\n');
    is_refused(&aegis, &large, "1MiB");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let origin = origin();
    let aegis = saying(&origin, "one").start();
    let text = fs::read_to_string(aegis.config_path()).unwrap();
    is_refused(
        &aegis,
        text.replace("\"hosts\"", "\"hots\"").as_bytes(),
        "did you mean `hosts`?",
    );
}

#[test]
fn a_request_in_flight_keeps_the_settings_it_began_with() {
    let origin = origin();
    let mut aegis = saying(&origin, "one").start();
    let request = aegis.curl("/slow");
    let in_flight = thread::spawn(move || request.send());
    eventually("the request reached the origin", || {
        (origin.hits("/slow") == 1).then_some(())
    });
    aegis.rewrite(|c| {
        c.set(
            "sites[0].routes",
            json!([{ "match": { "path": "/*" }, "respond": { "body": "two" } }]),
        );
    });
    says(&aegis, "two");
    assert_eq!(in_flight.join().unwrap().text(), "origin");
}
